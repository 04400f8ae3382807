//! Mutations of CBOR that keep it well-formed: whole items are replaced, doubled, dropped.

use core::ops::Range;

use super::random::Random;

/// Items at which decoders and arithmetic break.
const ITEMS: [&[u8]; 24] = [
    &[0x00],
    &[0x01],
    &[0x17],
    &[0x20],
    &[0x40],
    &[0x60],
    &[0x80],
    &[0xa0],
    &[0xf4],
    &[0xf5],
    &[0xf6],
    &[0xf7],
    &[0xf9, 0x7e, 0x00],
    &[0x1a, 0xff, 0xff, 0xff, 0xff],
    &[0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x9b, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x9f, 0xff],
    &[0x5f, 0x41, 0x61, 0xff],
    &[0x62, 0xc3, 0x28],
];

/// One item with all that is in it, and where its children stand.
struct Item {
    span: Range<usize>,
    head: Range<usize>,
    children: Vec<Range<usize>>,
    is_list: bool,
}

/// Replaces or moves whole items a few times; bytes that are no CBOR stay as they are.
pub(crate) fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(3) {
        let items = items(input);
        if items.is_empty() {
            return;
        }
        let item = random.pick(&items);
        let lists: Vec<&Item> =
            items.iter().filter(|item| item.is_list && !item.children.is_empty()).collect();
        let theirs = self::items(other);
        match random.below(4) {
            0 if !lists.is_empty() => change_list(random, input, random_list(&lists, item)),
            1 if !theirs.is_empty() => {
                let part = other[random.pick(&theirs).span.clone()].to_vec();
                input.splice(item.span.clone(), part);
            }
            2 => {
                let part = input[random.pick(&items).span.clone()].to_vec();
                input.splice(item.span.clone(), part);
            }
            _ => {
                let part = random.pick(&ITEMS).to_vec();
                input.splice(item.span.clone(), part);
            }
        }
        input.truncate(super::mutate::BYTES_MAX);
    }
}

/// The list nearest behind a place.
fn random_list<'a>(lists: &[&'a Item], near: &Item) -> &'a Item {
    lists.iter().find(|list| list.span.start >= near.span.start).unwrap_or(&lists[0])
}

/// Doubles or drops one child, and keeps the count in the head right.
fn change_list(random: &mut Random, input: &mut Vec<u8>, list: &Item) {
    let child = random.pick(&list.children).clone();
    let part = input[child.clone()].to_vec();
    let mut count = list.children.len();
    if random.below(2) == 0 {
        let times = *random.pick(&[1, 2, 200]);
        count += times;
        input.splice(child.end..child.end, part.repeat(times));
    } else {
        count -= 1;
        input.drain(child);
    }
    input.splice(list.head.clone(), list_head(count));
}

fn list_head(count: usize) -> Vec<u8> {
    let count = u32::try_from(count).expect("a list in a short input is short");
    match count {
        0..24 => vec![0x80 | count.to_le_bytes()[0]],
        _ => [&[0x9a], count.to_be_bytes().as_slice()].concat(),
    }
}

/// Every item of well-formed input, outer ones first.
fn items(input: &[u8]) -> Vec<Item> {
    let mut found = Vec::new();
    let end = walk(input, 0, 0, &mut found);
    if end == Some(input.len()) { found } else { Vec::new() }
}

/// Reads one item and returns where it ends; indefinite lengths are not looked into.
fn walk(input: &[u8], at: usize, depth: usize, found: &mut Vec<Item>) -> Option<usize> {
    let first = *input.get(at)?;
    let (kind, short) = (first >> 5, first & 0x1f);
    let width = match short {
        0..=23 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let body = at + 1 + width;
    let bytes = input.get(at + 1..body)?;
    let value = bytes
        .iter()
        .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
    let value = if width == 0 { usize::from(short) } else { value };
    let place = found.len();
    found.push(Item { span: at..at, head: at..body, children: Vec::new(), is_list: kind == 4 });
    let inside = match kind {
        4 => value,
        5 => value.checked_mul(2)?,
        6 => 1,
        _ => 0,
    };
    let mut end = if matches!(kind, 2 | 3) { body.checked_add(value)? } else { body };
    if end > input.len() || inside > input.len() || depth > 64 {
        return None;
    }
    let mut children = Vec::with_capacity(inside);
    for _ in 0..inside {
        let next = walk(input, end, depth + 1, found)?;
        children.push(end..next);
        end = next;
    }
    found[place].span = at..end;
    found[place].children = children;
    Some(end)
}
