//! An address of Postgres in the form that the programs of Postgres read: as variables of their environment, because a
//! password among the arguments of a program can be read by every user of the host.

use sqlx::postgres::PgSslMode;

use super::StoreError;

/// Returns the variables of libpq for this address.
///
/// # Errors
/// [`StoreError::Address`] if the address cannot be read.
pub fn environment(database_url: &str) -> Result<Vec<(&'static str, String)>, StoreError> {
    let options = super::connection::options(database_url)?;
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username()).to_owned();
    let mut variables = vec![
        ("PGHOST", host),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
        ("PGDATABASE", database),
        ("PGAPPNAME", "assize-backup".to_owned()),
    ];
    if options.get_socket().is_none() {
        variables.push(("PGSSLMODE", ssl_mode(options.get_ssl_mode()).to_owned()));
    }
    if let Some(password) = password(database_url) {
        variables.push(("PGPASSWORD", password));
    }
    Ok(variables)
}

/// Returns libpq's name of a mode of TLS.
const fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

/// Returns the password of an address, without its escapes.
fn password(database_url: &str) -> Option<String> {
    let (_, rest) = database_url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    unescaped(password)
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(url: &str, name: &str) -> Option<String> {
        environment(url).unwrap().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    #[test]
    fn an_address_becomes_variables() {
        let url = "postgres://ada:p%40ss%3A@db.example.org:6432/assize?sslmode=verify-full";
        assert_eq!(variable(url, "PGHOST").as_deref(), Some("db.example.org"));
        assert_eq!(variable(url, "PGPORT").as_deref(), Some("6432"));
        assert_eq!(variable(url, "PGUSER").as_deref(), Some("ada"));
        assert_eq!(variable(url, "PGDATABASE").as_deref(), Some("assize"));
        assert_eq!(variable(url, "PGPASSWORD").as_deref(), Some("p@ss:"));
        assert_eq!(variable(url, "PGSSLMODE").as_deref(), Some("verify-full"));
        let url = "postgres://assize_owner@localhost/assize?host=/run/postgresql";
        assert_eq!(variable(url, "PGHOST").as_deref(), Some("/run/postgresql"));
        assert_eq!((variable(url, "PGPASSWORD"), variable(url, "PGSSLMODE")), (None, None));
    }
}
