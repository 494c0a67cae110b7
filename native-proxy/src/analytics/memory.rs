//! What this process occupies, as the kernel counts it.

/// The fields of `/proc/self/status` that are told, and their metrics.
const FIELDS: [(&str, &str, &str); 4] = [
    ("VmRSS:", "process_resident_memory_bytes", "Memory that is resident."),
    ("VmHWM:", "process_resident_memory_max_bytes", "The most memory that ever was resident."),
    (
        "RssAnon:",
        "process_heap_resident_bytes",
        "Resident memory that belongs to no file: heap and stacks.",
    ),
    ("VmSize:", "process_virtual_memory_bytes", "Address space."),
];

/// Name, help and bytes of each figure that the kernel tells.
pub(super) fn figures() -> Vec<(&'static str, &'static str, u64)> {
    // No such file: no figures.
    read(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn read(status: &str) -> Vec<(&'static str, &'static str, u64)> {
    let found = FIELDS.into_iter().filter_map(|(field, name, help)| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some((name, help, kibibytes * 1024))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_figures_are_bytes() {
        let status = "Name:\tbimetal\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\tlots\n";
        let told = read(status).into_iter().map(|(name, _, bytes)| (name, bytes));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("process_resident_memory_bytes", 1 << 20),
                ("process_resident_memory_max_bytes", 2 << 20)
            ]
        );
    }

    #[test]
    fn what_is_allocated_is_seen() {
        let heap = || figures().into_iter().find(|(name, ..)| name.contains("heap")).unwrap().2;
        let before = heap();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(heap() >= before + (32 << 20));
        drop(held);
    }
}
