//! Mutations of text and bytes. Each takes any bytes and leaves any bytes, at most [`BYTES_MAX`].

use super::random::Random;

/// No input grows beyond this, so that one run stays short.
pub(crate) const BYTES_MAX: usize = 64 * 1024;

/// Numbers at which parsers and arithmetic break.
const NUMBERS: [&[u8]; 18] = [
    b"0",
    b"-0",
    b"-1",
    b"1e400",
    b"-1E-400",
    b"0.1e1",
    b"1e5",
    b"255",
    b"256",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"9007199254740993",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"340282366920938463463374607431768211456",
    b"0x10",
];
const BYTES: [u8; 16] = [
    0x00, 0x01, 0x0a, 0x20, 0x22, 0x5c, 0x7b, 0x7d, 0x7f, 0x80, 0x9f, 0xc0, 0xed, 0xef, 0xf6, 0xff,
];
/// What opens and closes one level, in JSON, YAML and CBOR.
const NESTS: [(&[u8], &[u8]); 9] = [
    (b"[", b"]"),
    (b"{\"a\":", b"}"),
    (b"{a: ", b"}"),
    (b"- ", b""),
    (b"? ", b""),
    (b"\n a:\n  ", b""),
    (&[0x81], b""),
    (&[0x9f], &[0xff]),
    (&[0xc1], b""),
];
const DEPTHS: [usize; 6] = [1, 8, 63, 65, 1_000, 20_000];

type Mutation = fn(&mut Random, &mut Vec<u8>, &Material<'_>);

/// What a mutation may draw from beside the input itself.
pub(crate) struct Material<'a> {
    /// Words of the grammar.
    pub(crate) words: &'a [&'a [u8]],
    /// Another input of the pool.
    pub(crate) other: &'a [u8],
}

const MUTATIONS: [Mutation; 14] = [
    flip_bit,
    set_byte,
    insert_bytes,
    remove_range,
    repeat_range,
    copy_range,
    splice,
    replace_number,
    insert_word,
    replace_token,
    swap_tokens,
    move_line,
    indent_line,
    nest,
];

/// Several small changes, or a few large ones.
pub(crate) fn mutate(random: &mut Random, input: &mut Vec<u8>, material: &Material<'_>) {
    for _ in 0..=random.below(6) {
        random.pick(&MUTATIONS)(random, input, material);
        input.truncate(BYTES_MAX);
    }
}

#[allow(clippy::ptr_arg, reason = "every mutation has one type")]
fn flip_bit(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let at = random.below(input.len());
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

#[allow(clippy::ptr_arg, reason = "every mutation has one type")]
fn set_byte(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let at = random.below(input.len());
    if let Some(byte) = input.get_mut(at) {
        *byte = *random.pick(&BYTES);
    }
}

fn insert_bytes(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let at = random.below(input.len() + 1);
    let bytes: Vec<u8> = (0..=random.below(8)).map(|_| random.byte()).collect();
    input.splice(at..at, bytes);
}

fn remove_range(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let range = random.range(input.len(), 64);
    input.drain(range);
}

fn repeat_range(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let range = random.range(input.len(), 64);
    let times = *random.pick(&[1, 2, 8, 100]);
    let (at, part) = (range.end, input[range].repeat(times));
    input.splice(at..at, part);
}

fn copy_range(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let range = random.range(input.len(), 256);
    let part = input[range].to_vec();
    let at = random.below(input.len() + 1);
    input.splice(at..at, part);
}

/// The beginning of one input and the end of another, or a piece of it in the middle.
fn splice(random: &mut Random, input: &mut Vec<u8>, material: &Material<'_>) {
    let other = material.other;
    if random.below(2) == 0 {
        input.truncate(random.below(input.len() + 1));
        input.extend_from_slice(&other[random.below(other.len() + 1)..]);
    } else {
        let part = other[random.range(other.len(), 512)].to_vec();
        let range = random.range(input.len(), 64);
        input.splice(range, part);
    }
}

fn replace_number(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let starts: Vec<usize> = (0..input.len())
        .filter(|at| input[*at].is_ascii_digit() && (*at == 0 || !input[at - 1].is_ascii_digit()))
        .collect();
    if starts.is_empty() {
        return;
    }
    let start = *random.pick(&starts);
    let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match random.below(8) {
        0 => b"9".repeat(*random.pick(&[20, 40, 309, 5_000])),
        1 => [b"0.".as_slice(), &b"3".repeat(500)].concat(),
        _ => random.pick(&NUMBERS).to_vec(),
    };
    input.splice(start..start + digits, number);
}

fn insert_word(random: &mut Random, input: &mut Vec<u8>, material: &Material<'_>) {
    if !material.words.is_empty() {
        let word = random.pick(material.words).to_vec();
        let at = random.below(input.len() + 1);
        input.splice(at..at, word);
    }
}

/// Runs of letters, digits and `_`: the words of text formats.
fn tokens(input: &[u8]) -> Vec<core::ops::Range<usize>> {
    let inside =
        |at: usize| input.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut found = Vec::new();
    let mut start = None;
    for at in 0..=input.len() {
        match (start, inside(at)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                found.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    found
}

fn replace_token(random: &mut Random, input: &mut Vec<u8>, material: &Material<'_>) {
    let found = tokens(input);
    if found.is_empty() {
        return;
    }
    let theirs = tokens(material.other);
    let word = match random.below(3) {
        0 if !material.words.is_empty() => random.pick(material.words).to_vec(),
        1 if !theirs.is_empty() => material.other[random.pick(&theirs).clone()].to_vec(),
        _ => input[random.pick(&found).clone()].to_vec(),
    };
    input.splice(random.pick(&found).clone(), word);
}

fn swap_tokens(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let found = tokens(input);
    if found.len() < 2 {
        return;
    }
    let (one, other) = (random.pick(&found).clone(), random.pick(&found).clone());
    let (first, second) = if one.start < other.start { (one, other) } else { (other, one) };
    if first.end <= second.start {
        let (left, right) = (input[first.clone()].to_vec(), input[second.clone()].to_vec());
        input.splice(second, left);
        input.splice(first, right);
    }
}

fn lines(input: &[u8]) -> Vec<Vec<u8>> {
    input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// A line is copied, moved or removed.
fn move_line(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let mut all = lines(input);
    if all.is_empty() {
        return;
    }
    let from = random.below(all.len());
    let line = match random.below(3) {
        0 => all[from].clone(),
        _ => all.remove(from),
    };
    if random.below(3) > 0 {
        all.insert(random.below(all.len() + 1), line);
    }
    *input = all.concat();
}

fn indent_line(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let mut all = lines(input);
    let at = random.below(all.len());
    let Some(line) = all.get_mut(at) else {
        return;
    };
    match random.below(3) {
        0 if line.starts_with(b" ") => {
            line.remove(0);
        }
        1 => line.insert(0, b'\t'),
        _ => {
            line.splice(0..0, b"  ".iter().copied());
        }
    }
    *input = all.concat();
}

/// Wraps a piece into many levels; the closing half may be missing.
fn nest(random: &mut Random, input: &mut Vec<u8>, _: &Material<'_>) {
    let (open, close) = *random.pick(&NESTS);
    let depth = *random.pick(&DEPTHS);
    let range = random.range(input.len(), 32);
    let mut wrapped = open.repeat(depth);
    wrapped.extend_from_slice(&input[range.clone()]);
    if random.below(4) > 0 {
        wrapped.extend_from_slice(&close.repeat(depth));
    }
    input.splice(range, wrapped);
}
