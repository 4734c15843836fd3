//! How the domain's names are written in Postgres: as the text that they are everywhere else.
//!
//! The domain does not know sqlx, so a column is read as [`Text`] or [`OptionalText`], which become the name that the
//! row has. The queries say so (`status AS "status: Text<Status>"`).

use std::str::FromStr;

use assize_domain::key::KeyRole;
use assize_domain::queue::ClaimPause;
use assize_domain::run::{FailureCode, StageName, Status, UnknownName};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{Decode, Postgres, Type, ValueRef};

/// A name of the domain in a column of text.
pub struct Text<T>(T);

/// A name of the domain in a column of text that may be null.
pub struct OptionalText<T>(Option<T>);

macro_rules! as_text {
    ($($name:ty),+) => {$(
        impl From<Text<$name>> for $name {
            fn from(text: Text<$name>) -> Self {
                text.0
            }
        }

        impl From<OptionalText<$name>> for Option<$name> {
            fn from(text: OptionalText<$name>) -> Self {
                text.0
            }
        }
    )+};
}

as_text!(Status, StageName, FailureCode, KeyRole, ClaimPause);

impl<T> Type<Postgres> for Text<T> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(ty)
    }
}

impl<T: FromStr<Err = UnknownName>> Decode<'_, Postgres> for Text<T> {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(<&str as Decode<Postgres>>::decode(value)?.parse()?))
    }
}

impl<T> Type<Postgres> for OptionalText<T> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(ty)
    }
}

impl<T: FromStr<Err = UnknownName>> Decode<'_, Postgres> for OptionalText<T> {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            Ok(Self(None))
        } else {
            Ok(Self(Some(<&str as Decode<Postgres>>::decode(value)?.parse()?)))
        }
    }
}
