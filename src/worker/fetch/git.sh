# One commit of a repository becomes one zip. Arguments: the address and the ref. Runs alone in its cell; every
# setting of Git's comes with the environment (src/worker/fetch/git.rs).
#
# There is no checkout: Git writes no file of the project, follows no link, runs no filter and enters no submodule.
# The tree is copied into an index, where links become plain files that hold their target and submodules are left
# out, and what the index then holds is packed.
set -euo pipefail
readonly EXIT_REFUSED=65

refuse() {
    printf 'fetch: %s\n' "$1" >&2
    exit "$EXIT_REFUSED"
}

git init --quiet --bare --template=
# An argument of its own could be an option or the word "tag"; as part of this it is a name.
git fetch --quiet --no-tags --depth=1 --no-recurse-submodules --no-write-fetch-head --no-auto-maintenance \
    -- "$1" "$2:refs/assize/fetched"
commit=$(git rev-parse --verify --quiet --end-of-options 'refs/assize/fetched^{commit}') ||
    refuse "$2 names something that is no commit"

# A few objects can name billions of files: they are counted before they are held.
list() { timeout "$TREE_TIMEOUT_S" git ls-tree -r --full-tree "$@" "$commit"; }
status=0
list --format='%(objecttype) %(objectsize)' | head -n "$((MAX_FILES + 1))" >sizes || status=$?
read -r entries files bytes < <(
    awk '$1 == "blob" { files += 1; bytes += $2 } END { printf "%d %d %.0f\n", NR, files, bytes }' sizes
)
((entries <= MAX_FILES)) || refuse "$commit has more than $MAX_FILES files, the limit"
((status != 124)) || refuse "the files of $commit could not be listed in $TREE_TIMEOUT_S s"
((status == 0)) || exit "$status"
((bytes <= MAX_BYTES)) || refuse "the files of $commit have $bytes bytes together, the limit is $MAX_BYTES"

list -z | sed -z -e '/^160000 /d' -e 's/^120000 /100644 /' | git update-index -z --index-info
# What .gitattributes says is for a checkout or for a release: every file comes, byte for byte.
mkdir -p "$GIT_DIR/info"
echo '* !export-ignore !export-subst -text !eol !crlf !ident !filter !working-tree-encoding' >"$GIT_DIR/info/attributes"
# Packed as a commit of its own with a time that never changes: the same files give the same archive.
packed=$(git commit-tree -m packed "$(git write-tree)")
printf '%s\n' "$commit" >fetched
git archive --format=zip "$packed" >>fetched
echo "fetched $commit: $files files, $bytes bytes"
