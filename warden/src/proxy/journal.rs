//! What the tunnel may still add to the journal. The engine keeps a journal up to a size, and the
//! results come last, so nothing that a project sends may fill it.

/// Bytes, as [`assize_protocol::egress`] counts them.
pub struct Journal {
    left: u64,
}

impl Journal {
    pub const fn new(bytes: u64) -> Self {
        Self { left: bytes }
    }

    /// Takes `cost` away; false if there is not so much left, and then nothing is taken.
    pub fn spend(&mut self, cost: u64) -> bool {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}
