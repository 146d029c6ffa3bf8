// SPDX-License-Identifier: GPL-2.0
//! Inputs as text: words from tables, and bytes.

/// The word for a value; the table has to have all values.
pub fn word<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    let entry = table.iter().find(|e| e.1 == *value);
    entry.expect("the tables are complete").0
}

/// The value of a word. Fails with a message for the user.
pub fn value<T: Copy>(table: &[(&str, T)], word: Option<&str>) -> Result<T, String> {
    let word = word.ok_or("a word is missing")?;
    let entry = table.iter().find(|e| e.0 == word);
    Ok(entry.ok_or(format!("{word}: unknown word"))?.1)
}

/// Hexadecimal digits; a longer run of a byte is `(BYTE*COUNT)`.
pub fn hex(data: &[u8]) -> String {
    let mut text = String::new();
    for run in data.chunk_by(|a, b| a == b) {
        if run.len() > 8 {
            text += &format!("({:02x}*{})", run[0], run.len());
        } else {
            run.iter().for_each(|b| text += &format!("{b:02x}"));
        }
    }
    text
}

/// The reverse of [`hex`].
pub fn unhex(mut text: &str) -> Result<Vec<u8>, String> {
    let bad = |what: &str| format!("{what}: no hexadecimal digits");
    let byte = |t: &str| u8::from_str_radix(t, 16).map_err(|_| bad(t));
    let mut data = Vec::new();
    while !text.is_empty() {
        if let Some(rest) = text.strip_prefix('(') {
            let (run, after) = rest.split_once(')').ok_or(bad(text))?;
            let (digits, count) = run.split_once('*').ok_or(bad(run))?;
            let count: usize = count.parse().map_err(|_| bad(count))?;
            data.resize(data.len() + count, byte(digits)?);
            text = after;
        } else {
            data.push(byte(text.get(..2).ok_or(bad(text))?)?);
            text = &text[2..];
        }
    }
    Ok(data)
}
