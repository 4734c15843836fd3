-- The roles and the database of assize. Run it once as a superuser, and again whenever it changes:
--
--   sudo -u postgres psql -f postgres/roles.sql
--
-- The database is called assize; `-v database=NAME` gives it another name.
--
-- No role has a password: each process comes through the Unix socket and is known by its user (pg_hba.conf and
-- pg_ident.conf in this folder). To come over a network instead, set passwords with \password and use scram-sha-256.
--
-- What each role may do in the tables is in crates/store/sql/grants.sql; `assize migrate` applies it as assize_owner.

\set ON_ERROR_STOP on
\if :{?database}
\else
\set database assize
\endif

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['assize_owner', 'assize_api', 'assize_worker', 'assize_monitor']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

-- Owns every table and changes the schema: `assize migrate`, `assize key`, `assize backup`, `assize restore`. It has no
-- limit of time, because a migration and a dump take what they take.
ALTER ROLE assize_owner NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10;
ALTER ROLE assize_owner SET lock_timeout = '10s';

-- `assize api`. Two instances at a time during an upgrade, with 8 connections each (database_connections).
ALTER ROLE assize_api NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 60;
-- A query of assize takes a millisecond. What takes 5 s belongs to a database in trouble, and its caller is gone.
ALTER ROLE assize_api SET statement_timeout = '5s';
ALTER ROLE assize_api SET lock_timeout = '5s';
ALTER ROLE assize_api SET idle_in_transaction_session_timeout = '15s';

-- `assize worker`.
ALTER ROLE assize_worker NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 60;
ALTER ROLE assize_worker SET statement_timeout = '5s';
ALTER ROLE assize_worker SET lock_timeout = '5s';
-- The janitor holds the row of an archive while it deletes the archive from the blob store, which may take 30 s.
ALTER ROLE assize_worker SET idle_in_transaction_session_timeout = '60s';

-- The exporter of metrics: statistics of the server, and counts of runs.
ALTER ROLE assize_monitor NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 5;
ALTER ROLE assize_monitor SET statement_timeout = '10s';
ALTER ROLE assize_monitor SET default_transaction_read_only = on;
GRANT pg_monitor TO assize_monitor;

-- The statistics of statements of all databases, for the exporter; postgres/assize.conf loads the library. They are in the
-- database that this file is run in (postgres), so that a dump of assize does not need the extension.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;

SELECT format('CREATE DATABASE %I OWNER assize_owner ENCODING ''UTF8'' TEMPLATE template0', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec

-- Nobody else connects, and only the owner makes tables.
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO assize_api, assize_worker, assize_monitor;
\connect :"database"
ALTER SCHEMA public OWNER TO assize_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
