//! The weight of a run, in half-slots, so that all sums are integers.

use serde::{Deserialize, Serialize};

use crate::names;

/// The weight class of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Class {
    /// API only.
    A,
    /// Front-end build and UI checks.
    B,
    /// Full stack with a browser.
    C,
}

names!(Class, "class", { A => "A", B => "B", C => "C" });

impl Class {
    /// Half-slots that a run of this class takes: 1, 2 or 4.
    #[must_use]
    pub const fn half_slots(self) -> i32 {
        match self {
            Self::A => 1,
            Self::B => 2,
            Self::C => 4,
        }
    }

    /// The class that takes this many half-slots.
    #[must_use]
    pub fn from_half_slots(half_slots: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.half_slots() == half_slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_double_from_class_to_class() {
        for pair in Class::ALL.windows(2) {
            assert_eq!(pair[0].half_slots() * 2, pair[1].half_slots());
        }
    }

    #[test]
    fn a_weight_names_its_class() {
        for class in Class::ALL {
            assert_eq!(Class::from_half_slots(class.half_slots()), Some(*class));
        }
        assert_eq!(Class::from_half_slots(3), None);
    }
}
