//! The database, as the commands of an operator use it.

use assize_client::outcome::Fault;
use assize_config::Config;
use assize_store::Store;

use super::fault;

/// Opens the database as its owner, with room for two queries at a time, and checks that its schema is new enough.
///
/// # Errors
/// [`Fault`] says whether the address, the schema or the server is wrong, and what to do.
pub async fn open(config: &Config) -> Result<Store, Fault> {
    let store = Store::open(config.owner_database_url(), 2).map_err(fault::store)?;
    store.check_schema().await.map_err(fault::store)?;
    Ok(store)
}
