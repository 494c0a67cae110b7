//! Looking a scope up by what it is called elsewhere: nothing is made by that.

use super::slot::Slots;
use super::{LONGEST, OVERFLOW, Registry};

impl Registry {
    /// The place of the scope that is called `name` on boards, where it is in the table.
    pub(crate) fn find_on_board(&self, name: &[u8], slots: &Slots) -> Option<u32> {
        if name == OVERFLOW {
            return self.overflow;
        }
        // Keys are shortened before they get a name, so none is longer.
        if name.len() > LONGEST { None } else { self.find(name, slots) }
    }
}
