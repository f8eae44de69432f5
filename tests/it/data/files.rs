//! Encodings, packed files, shapes of JSON, places, and limits of files.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tallow::data::{DataOptions, Format, read, read_table};

use super::{file, lines, problem_list, records_of};

fn error_of(name: &str, content: impl AsRef<[u8]>) -> String {
    let (_dir, path) = file(name, content);
    let error = read(&[&path], &DataOptions::default()).unwrap_err();
    format!("{error} {}", error.hint().unwrap_or_default())
}

fn utf16(text: &str, big: bool, mark: bool) -> Vec<u8> {
    let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
    units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
}

#[test]
fn utf16_and_marks_are_read() {
    let text = "{\"instruction\": \"Grüße 🎉\", \"output\": \"ok\"}\r\n{\"instruction\": \"b\", \"output\": \"c\"}\r\n";
    for (big, mark) in [(false, true), (true, true), (false, false), (true, false)] {
        let (_dir, path) = file("rows.jsonl", utf16(text, big, mark));
        let table = read_table(&path, None).unwrap();
        assert_eq!((table.rows.len(), table.problems.len()), (2, 0), "big {big} mark {mark}");
        assert_eq!(table.rows[0].fields["instruction"], "Grüße 🎉");
        assert!(table.notes[0].contains("UTF-16"));
        let (_dir, path) = file("rows.csv", utf16("instruction,output\na,b\n", big, mark));
        assert_eq!(read_table(&path, None).unwrap().rows.len(), 1);
    }
    assert_eq!(records_of("rows.jsonl", &format!("\u{feff}{text}"), &DataOptions::default()).records.len(), 2);
    let cut = &utf16(text, false, true)[..33];
    assert!(error_of("rows.jsonl", cut).contains("cut off"));
    let lone = [&[0xff, 0xfe][..], &0xd83d_u16.to_le_bytes(), b"a\0"].concat();
    assert!(error_of("rows.jsonl", lone).contains("not UTF-16"));
}

#[test]
fn other_encodings_are_named() {
    let latin = b"{\"instruction\": \"caf\xe9\", \"output\": \"ok\"}\n{\"instruction\": \"a\", \"output\": \"b\"}\n";
    let (_dir, path) = file("rows.jsonl", latin);
    let set = read(&[&path], &DataOptions::default()).unwrap();
    assert_eq!(lines(&set.records), [2]);
    assert!(set.problems[0].message.contains("byte 0xE9") && set.problems[0].message.contains("Latin-1"), "{}", set.problems[0]);
    let (_dir, path) = file("rows.csv", b"instruction,output\ncaf\xe9,b\nc,d\n");
    let set = read(&[&path], &DataOptions::default()).unwrap();
    assert_eq!(problem_list(&set), ["2: bad_csv"]);
    assert!(set.problems[0].message.contains("Latin-1"), "{}", set.problems[0]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn packed_files_are_read_by_their_content() {
    let rows = b"{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
    let packed = [gzip(rows), zstd::encode_all(&rows[..], 3).unwrap(), [gzip(&rows[..14]), gzip(&rows[14..])].concat()];
    for bytes in packed {
        for name in ["rows.jsonl.gz", "rows.jsonl.zst", "rows.jsonl", "ROWS.JSONL.GZ"] {
            let (_dir, path) = file(name, &bytes);
            let table = read_table(&path, None).unwrap();
            assert_eq!((table.format, table.rows.len()), (Format::Jsonl, 2), "{name}");
            assert!(table.notes[0].contains("unpacked"));
        }
    }
    let (_dir, path) = file("t.csv.gz", gzip(b"prompt,completion\na,b\n"));
    assert_eq!(read_table(&path, None).unwrap().rows.len(), 1);
    for (bytes, packer) in [(&b"BZh91AY"[..], "bzip2"), (b"PK\x03\x04..", "zip"), (b"\xfd7zXZ\0", "xz")] {
        assert!(error_of("rows.jsonl", bytes).contains(packer));
    }
    let half = &gzip(rows)[..20];
    assert!(error_of("rows.jsonl.gz", half).contains("cannot be unpacked"));
    // A few hundred KB that hold more than 200 times as much.
    let bomb = zstd::encode_all(std::io::repeat(b' ').take_bytes(300 << 20), 19).unwrap();
    assert!(bomb.len() < 1 << 20);
    assert!(error_of("rows.jsonl.zst", bomb).contains("holds more than"));
}

trait TakeBytes: std::io::Read + Sized {
    fn take_bytes(self, n: u64) -> std::io::Take<Self> {
        self.take(n)
    }
}

impl<R: std::io::Read> TakeBytes for R {}

#[test]
fn shapes_that_are_no_rows_are_named_once() {
    let object = json!({"instruction": "a", "output": "b"});
    let wrapped = json!({"version": "0.1", "data": [object, object]});
    let cases = [
        ("wrapped.json", format!("{wrapped:#}"), "wraps the rows: `data`"),
        ("wrapped.json", wrapped.to_string(), "wraps the rows: `data`"),
        ("wrapped.jsonl", format!("{wrapped:#}"), "wraps the rows: `data`"),
        ("pretty.jsonl", format!("{object:#}\n{object:#}\n{object:#}"), "3 JSON objects over several lines"),
        ("one.json", format!("{object:#}"), "one JSON object over several lines"),
        ("columns.json", json!({"instruction": {"0": "a", "1": "b"}, "output": {"0": "c", "1": "d"}}).to_string(), "columns"),
        ("columns.json", json!({"instruction": ["a", "b"], "output": ["c", "d"]}).to_string(), "columns"),
        (
            "lists.json",
            json!([[{"role": "user", "content": "a"}], [{"role": "user", "content": "a"}]]).to_string(),
            "{\"messages\": [...]}",
        ),
        ("lists.json", "[[1, 2], [3, 4]]".into(), "list of lists"),
        ("lists.jsonl", "[{\"role\": \"user\"}]\n[{\"role\": \"user\"}]\n".into(), "{\"messages\": [...]}"),
        ("comma.json", format!("[\n{object},\n{object},\n]"), "line 4: a comma without a row"),
        ("more.json", format!("[{object}]\n{object}"), "more behind the closing bracket"),
    ];
    for (name, content, words) in cases {
        let error = error_of(name, &content);
        assert!(error.contains(words), "{name}: {error}");
        assert!(error.lines().count() == 1, "said once: {error}");
    }
    // One row that holds a list is a row.
    let row = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    assert_eq!(records_of("row.jsonl", &row.to_string(), &DataOptions::default()).records.len(), 1);
}

#[test]
fn what_json_does_not_have_is_named() {
    let rows = "{\"instruction\": \"a\", \"output\": \"b\", \"score\": NaN}\n{\"instruction\": \"c\", \"instruction\": \"d\", \"output\": \"e\"}\n\
                {\"instruction\": \"a \\ud83d b\", \"output\": \"c\"}\n{\"instruction\": \"a\", \"output\": \"b\"}\n";
    let set = records_of("rows.jsonl", rows, &DataOptions::default());
    assert_eq!(lines(&set.records), [4]);
    assert!(set.problems[0].message.contains("NaN"), "{}", set.problems[0]);
    assert!(set.problems[1].message.contains("`instruction` stands twice"), "{}", set.problems[1]);
}

/// Random rows, some of them bad, in every form: the same rows are bad, and known by the same numbers.
#[test]
fn places_are_right_in_every_form() {
    let mut random = tallow::data::Rng::for_parts(&[std::process::id().into()]);
    for round in 0..40 {
        let rows: Vec<(bool, u64)> = (0..1 + random.below(30)).map(|_| (random.below(3) > 0, random.below(3))).collect();
        let bad: Vec<u64> = rows.iter().zip(1..).filter(|((good, _), _)| !good).map(|(_, n)| n).collect();
        let object =
            |(i, (good, _)): (usize, &(bool, u64))| if *good { json!({"prompt": "q", "completion": i}) } else { json!({"prompt": "q"}) };
        let objects: Vec<Value> = rows.iter().enumerate().map(object).collect();
        let numbers = |name: &str, content: &str| -> Vec<u64> {
            let layout = Some(tallow::data::Layout::Completion);
            let set = records_of(name, content, &DataOptions { layout, ..DataOptions::default() });
            assert_eq!(set.records.len() + set.problems.len(), rows.len(), "round {round} {name}\n{content}");
            set.problems.iter().map(|p| p.at.line).collect()
        };
        let jsonl: String = objects.iter().map(|o| format!("{o}\n")).collect();
        assert_eq!(numbers("a.jsonl", &jsonl), bad, "round {round}");
        assert_eq!(numbers("a.json", &Value::Array(objects.clone()).to_string()), bad, "one line, round {round}");
        // CSV: cells may hold line breaks; line ends of all three kinds.
        for end in ["\n", "\r\n", "\r"] {
            let mut text = format!("prompt,completion{end}");
            let (mut line, mut expect) = (2, Vec::new());
            for (good, breaks) in &rows {
                if !good {
                    expect.push(line);
                }
                let cell = format!("\"q{}\"", end.repeat(*breaks as usize));
                text += &if *good { format!("{cell},a{end}") } else { format!("{cell}{end}") };
                line += 1 + breaks;
            }
            let name = if end == "\r" { "cr.csv" } else { "a.csv" };
            assert_eq!(numbers(name, &text), expect, "round {round} {end:?}\n{text:?}");
        }
    }
}

#[test]
fn work_grows_with_the_input_and_no_faster() {
    let started = Instant::now();
    let names: Vec<String> = (0..1_000_000).map(|i| format!("c{i}")).collect();
    assert!(error_of("wide.csv", format!("{}\n", names.join(","))).contains("1000000 columns"));
    let long = format!("{{\"text\": \"a\"}}\n{{\"text\": \"{}\"}}\n", "b ".repeat(20 << 20));
    let set = records_of("long.jsonl", &long, &DataOptions::default());
    assert_eq!((lines(&set.records), problem_list(&set)), (vec![1], vec!["2: line_too_long".to_owned()]));
    let turn = |i: usize| json!({"role": if i.is_multiple_of(2) { "user" } else { "assistant" }, "content": "x"});
    let many = json!({"messages": (0..20_000).map(turn).collect::<Vec<_>>()}).to_string();
    assert_eq!(problem_list(&records_of("turns.jsonl", &many, &DataOptions::default())), ["1: too_many_messages"]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(error_of("deep.json", format!("[{deep}]")).contains("recursion limit"));
    // A row of very many fields.
    let fields: Vec<String> = (0..300_000).map(|i| format!("\"k{i}\": 1")).collect();
    let error = error_of("fields.jsonl", format!("{{{}}}\n", fields.join(", ")));
    assert!(error.contains("and 299970 more") && error.len() < 2000, "{error:.500}");
    for (role, text) in [("role", "content"), ("from", "value")] {
        let (user, list) = if role == "role" { ("user", "messages") } else { ("human", "conversations") };
        let answer = if role == "role" { "assistant" } else { "gpt" };
        let turns = format!("{{\"{role}\": \"{user}\", \"{text}\": \"q\", {}}}", fields.join(", "));
        let row = format!("{{\"{list}\": [{turns}, {{\"{role}\": \"{answer}\", \"{text}\": \"a\"}}]}}\n");
        assert_eq!(records_of("members.jsonl", &row, &DataOptions::default()).records.len(), 1);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

/// A Parquet file of one text column: so many rows of this text.
fn packed_column(path: &std::path::Path, text: &str, rows: usize) {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    let schema = "message rows { required binary text (UTF8); }";
    let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let packed = parquet::basic::Compression::ZSTD(Default::default());
    let properties = std::sync::Arc::new(WriterProperties::builder().set_compression(packed).build());
    let mut writer = parquet::file::writer::SerializedFileWriter::new(std::fs::File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values = vec![ByteArray::from(text); rows];
    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn a_small_parquet_file_holds_no_millions_of_rows_and_no_gigabytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.parquet");
    for (text, rows, words) in [("a", 1_500_000, "rows in"), (&*"ab ".repeat(300_000), 3000, "the values take more")] {
        packed_column(&path, text, rows);
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length < 1 << 20, "{length}");
        let started = Instant::now();
        let error = read(&[&path], &DataOptions::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("rows.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, words) in [(pipe.as_path(), "pipe"), (dir.path(), "folder"), (std::path::Path::new("/dev/zero"), "device")] {
        let started = Instant::now();
        let error = read(&[path], &DataOptions { format: Some(Format::Jsonl), ..DataOptions::default() }).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
