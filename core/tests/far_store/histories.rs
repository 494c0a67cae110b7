pub(crate) fn seeds(ordinary: u64) -> u64 { ordinary }
