//! Looking a scope up by what it is called elsewhere: nothing is made by that.

use super::slot::{Key, Slots};
use super::{LONGEST, Registry};

impl Registry {
    /// The place of the scope that is called `name` on boards, where it is in the table.
    pub(crate) fn find_on_board(&self, name: &[u8], slots: &Slots) -> Option<u32> {
        if name == Key::Overflow.on_board() {
            return self.overflow;
        }
        // A longer one is no name: keys were shortened before.
        if name.len() > LONGEST { None } else { self.find(name, slots) }
    }
}
