//! What a node may take of its disk, as its configuration says it.
//!
//! Invariant: a node takes nothing new before it stops, and what may be taken leaves room to work.

use replica::DiskLimits;

use crate::config::Config;

/// A smaller quota is taken by the log's files alone.
const QUOTA_BYTES_MIN: u64 = 256 * 1024 * 1024;

/// For the replica.
pub(crate) fn of(config: &Config) -> DiskLimits {
    DiskLimits {
        reserve_bytes: config.disk_reserve_bytes,
        quota_bytes: config.disk_quota_bytes,
        stop_bytes: config.disk_stop_bytes,
        ballast_bytes: config.disk_ballast_bytes,
    }
}

/// The lines of the configuration.
pub(crate) fn to_yaml(config: &Config) -> String {
    let named = [
        ("disk_reserve_bytes", config.disk_reserve_bytes),
        ("disk_quota_bytes", config.disk_quota_bytes),
        ("disk_stop_bytes", config.disk_stop_bytes),
        ("disk_ballast_bytes", config.disk_ballast_bytes),
    ];
    let lines = named.iter().filter_map(|(name, bytes)| Some(format!("{name}: {}\n", (*bytes)?)));
    lines.collect()
}

/// Refuses limits that contradict each other.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    if let Some(quota) = config.disk_quota_bytes
        && quota < QUOTA_BYTES_MIN
    {
        return Err(format!("disk_quota_bytes is {quota}; at least {QUOTA_BYTES_MIN}"));
    }
    if let (Some(stop), Some(reserve)) = (config.disk_stop_bytes, config.disk_reserve_bytes)
        && stop > reserve
    {
        return Err(format!(
            "disk_stop_bytes is {stop} and disk_reserve_bytes {reserve}; a node stops with less \
             room than it takes new things with"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "node: {id: 1}\ndata_dir: d\nhttp: {listen: \"127.0.0.1:4000\"}\n";

    fn parsed(more: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node.yaml");
        std::fs::write(&file, format!("{LEAST}{more}")).unwrap();
        Config::load(&file)
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let cases = [
            ("disk_reserve_bytes: 1000000\n", None),
            ("disk_stop_bytes: 7\ndisk_reserve_bytes: 7\n", None),
            ("disk_stop_bytes: 8\ndisk_reserve_bytes: 7\n", Some("disk_stop_bytes is 8")),
            ("disk_stop_bytes: 8\n", None),
            ("disk_quota_bytes: 268435456\n", None),
            ("disk_quota_bytes: 268435455\n", Some("disk_quota_bytes is 268435455; at least")),
            ("disk_ballast_bytes: 0\n", None),
        ];
        for (more, refused) in cases {
            match (parsed(more), refused) {
                (Ok(_), None) => {}
                (Err(what), Some(words)) => assert!(what.contains(words), "{what}"),
                (other, _) => panic!("{more}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = "disk_reserve_bytes: 9\ndisk_quota_bytes: 300000000\ndisk_stop_bytes: 7\n\
                    disk_ballast_bytes: 6\n";
        let config = parsed(text).unwrap();
        assert_eq!(to_yaml(&config), text);
        let limits = of(&config);
        assert_eq!((limits.reserve_bytes, limits.stop_bytes), (Some(9), Some(7)));
        assert_eq!((limits.quota_bytes, limits.ballast_bytes), (Some(300_000_000), Some(6)));
    }
}
