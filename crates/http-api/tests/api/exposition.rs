//! A strict reader of the text form of metrics: what it takes, Prometheus takes.

use std::collections::BTreeMap;

/// One family: its type, its meaning, and its samples in the order they came.
#[derive(Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    samples: Vec<(String, f64)>,
}

/// What a scrape gave.
pub(crate) struct Scrape {
    pub(crate) text: String,
    pub(crate) families: BTreeMap<String, Family>,
}

impl Scrape {
    /// Reads a scrape; anything out of form fails the test.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                check_name(name);
                let family = Family { help: help.to_owned(), ..Family::default() };
                assert!(families.insert(name.to_owned(), family).is_none(), "{name} comes twice");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(name, current, "a type follows its help");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let family = families.get_mut(name).expect(line);
                assert!(family.kind.is_empty() && family.samples.is_empty(), "{line}");
                kind.clone_into(&mut family.kind);
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let name = check_series(series);
                let family = families.get_mut(&current).expect(line);
                let suffix = name.strip_prefix(current.as_str()).expect(line);
                let suffixes: &[&str] = match family.kind.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(suffixes.contains(&suffix), "{line}");
                family.samples.push((series.to_owned(), value.parse().expect(line)));
            }
        }
        families.iter().for_each(|(name, family)| check_family(name, family));
        Self { text: text.to_owned(), families }
    }

    /// The value of one series, named as it is printed.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let samples = self.families.values().flat_map(|family| &family.samples);
        let mut found = samples.filter(|(name, _)| name == series).map(|(_, value)| *value);
        let value = found.next().unwrap_or_else(|| panic!("no {series} in\n{}", self.text));
        assert!(found.next().is_none(), "{series} comes twice");
        value
    }
}

fn check_name(name: &str) {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    assert!(!name.is_empty() && name.bytes().all(plain), "{name}");
}

/// Checks name and labels of a series, and gives its name.
fn check_series(series: &str) -> &str {
    let Some((name, labels)) = series.split_once('{') else {
        check_name(series);
        return series;
    };
    check_name(name);
    let mut rest = labels.strip_suffix('}').expect(series);
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").expect(series);
        check_name(label);
        let (value, after) = after.split_once('"').expect(series);
        // Names of routes, kinds and outcomes: no value is long, and none needs an escape.
        assert!(!value.is_empty() && value.len() <= 40 && !value.contains('\\'), "{series}");
        rest = after.strip_prefix(',').unwrap_or(after);
        assert!(rest.is_empty() || after.starts_with(','), "{series}");
    }
    name
}

fn check_family(name: &str, family: &Family) {
    assert!(!family.kind.is_empty(), "{name} has no type");
    assert!(!family.samples.is_empty(), "{name} has no samples");
    let mut before: Option<(&str, f64, f64)> = None;
    for (series, value) in &family.samples {
        if family.kind != "gauge" {
            assert!(*value >= 0.0, "{series} is {value}");
        }
        let Some((labels, bound)) = series.split_once("le=\"") else {
            if series.starts_with(&format!("{name}_count")) {
                let (_, bound, count) = before.expect("buckets come first");
                assert!(bound.is_infinite() && count == *value, "{series}");
                before = None;
            }
            continue;
        };
        let bound: f64 = bound.trim_end_matches("\"}").parse().expect(series);
        if let Some((same, lower, count)) = before {
            assert!(same == labels && lower < bound && count <= *value, "{series}");
        }
        before = Some((labels, bound, *value));
    }
    assert!(before.is_none(), "{name} has buckets without their count");
}

#[test]
fn what_is_out_of_form_is_refused() {
    let good = "# HELP a A.\n# TYPE a counter\na{b=\"c\"} 1\n";
    Scrape::parse(good);
    let spoilt = [
        ("# HELP a A.\n", ""),
        ("counter", "summary"),
        ("\"c\"", "c"),
        ("a{b", "z{b"),
        (" 1\n", " one\n"),
        (" 1\n", " -1\n"),
        ("a{b=\"c\"} 1\n", ""),
    ];
    for (from, to) in spoilt {
        let text = good.replace(from, to);
        assert!(std::panic::catch_unwind(|| Scrape::parse(&text)).is_err(), "{text}");
    }
    let buckets = "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\n\
                   h_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n";
    Scrape::parse(buckets);
    let falling = buckets.replacen(" 2\n", " 3\n", 1);
    assert!(std::panic::catch_unwind(|| Scrape::parse(&falling)).is_err());
}
