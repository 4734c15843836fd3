//! Codes for the address and the ref of a repository, which the service checks before it stores a submission.

use super::codes;
use crate::intake::repository::RepositoryProblem;

codes! {
    REPOSITORY_OFF: "repository_off", 422,
        "This installation does not fetch repositories (git_hosts is empty).",
        "Submit an archive.";
    REPOSITORY_NOT_ALLOWED: "repository_not_allowed", 422,
        "This installation does not fetch repositories from this host.",
        "Ask your administrator to list the host in git_hosts.";
    REPOSITORY_TOO_LONG: "repository_too_long", 422,
        "The repository's address or the ref is too long.",
        "Use a shorter one; `limit` and `seen` are in bytes.";
    REPOSITORY_EMPTY: "repository_empty", 422,
        "The repository's address or the ref is empty.",
        "Leave it out, or send a value.";
    REPOSITORY_CHARACTER: "repository_character", 422,
        "The repository's address or the ref contains a character that is not allowed.",
        "Remove the character.";
    REPOSITORY_OPTION: "repository_option", 422,
        "The repository's address or the ref begins with a dash, like an option of a command.",
        "Use its plain name.";
    REPOSITORY_SCHEME: "repository_scheme", 422,
        "The repository's address does not begin with https:// (or http://, for a host in egress_private_hosts).",
        "Use the repository's address for cloning over HTTPS.";
    REPOSITORY_PLAIN_HTTP: "repository_plain_http", 422,
        "This installation fetches from this host only with TLS.",
        "Use https://, or ask your administrator to list the host in egress_private_hosts.";
    REPOSITORY_USERINFO: "repository_userinfo", 422,
        "The repository's address contains a user name or a password.",
        "Leave out everything before the @.";
    REPOSITORY_ADDRESS_LITERAL: "repository_address_literal", 422,
        "The repository's host is an IP address.",
        "Use the name of the host.";
    REPOSITORY_HOST: "repository_host", 422,
        "The repository's host is not a valid full host name.",
        "Use a full name such as github.com.";
    REPOSITORY_PORT: "repository_port", 422,
        "The repository's port is not a number from 1 to 65535.",
        "Leave the port out.";
    REPOSITORY_PATH: "repository_path", 422,
        "The repository's address has no path, or a path that is not allowed.",
        "Use the repository's address for cloning over HTTPS.";
    REPOSITORY_REF: "repository_ref", 422,
        "The ref is not a valid name of a branch, a tag or a commit.",
        "Send the name of a branch or a tag, or a whole commit id.";
}

/// Returns the code of a problem with a repository. The compiler checks that every problem has one.
pub const fn for_repository(problem: &RepositoryProblem) -> super::ProblemCode {
    match problem {
        RepositoryProblem::Off => REPOSITORY_OFF,
        RepositoryProblem::TooLong { .. } => REPOSITORY_TOO_LONG,
        RepositoryProblem::Empty { .. } => REPOSITORY_EMPTY,
        RepositoryProblem::Character { .. } => REPOSITORY_CHARACTER,
        RepositoryProblem::Option { .. } => REPOSITORY_OPTION,
        RepositoryProblem::Scheme { .. } => REPOSITORY_SCHEME,
        RepositoryProblem::PlainHttp { .. } => REPOSITORY_PLAIN_HTTP,
        RepositoryProblem::UserInfo => REPOSITORY_USERINFO,
        RepositoryProblem::AddressLiteral { .. } => REPOSITORY_ADDRESS_LITERAL,
        RepositoryProblem::Host { .. } => REPOSITORY_HOST,
        RepositoryProblem::Port { .. } => REPOSITORY_PORT,
        RepositoryProblem::Path { .. } => REPOSITORY_PATH,
        RepositoryProblem::NotAllowed { .. } => REPOSITORY_NOT_ALLOWED,
        RepositoryProblem::Ref { .. } => REPOSITORY_REF,
    }
}
