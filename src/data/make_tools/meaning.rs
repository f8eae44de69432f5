//! What an argument means, by its name and its schema: how its values look and how people speak of them.

use serde_json::Value;

/// What an argument means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    City,
    Country,
    Person,
    Email,
    Phone,
    Date,
    Time,
    Moment,
    Path,
    Folder,
    Url,
    Query,
    Message,
    Title,
    Amount,
    Currency,
    Language,
    Color,
    Year,
    Age,
    Latitude,
    Longitude,
    Duration,
    Id,
    Count,
    Company,
    Plain,
}

/// Words of a name: `userId`, `user_id` and `user-id` are "user", "id".
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let starts = c.is_uppercase() && before.is_lowercase();
        if (starts || !c.is_alphanumeric()) && words.last().is_some_and(|w| !w.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("there is a word").extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|w| !w.is_empty());
    words
}

/// First match wins: words of a name, or a format of JSON Schema.
const BY_WORD: [(&[&str], Meaning); 26] = [
    (&["email", "mail", "cc", "bcc"], Meaning::Email),
    (&["phone", "telephone", "mobile"], Meaning::Phone),
    (&["url", "uri", "link", "website", "webpage"], Meaning::Url),
    (&["directory", "folder", "dir", "cwd"], Meaning::Folder),
    (&["path", "paths", "file", "files", "filename", "filepath", "source", "destination"], Meaning::Path),
    (&["timestamp", "datetime"], Meaning::Moment),
    (&["duration", "seconds", "minutes", "hours", "timeout", "delay"], Meaning::Duration),
    (&["date", "day", "deadline", "birthday", "checkin", "checkout"], Meaning::Date),
    (&["time", "clock"], Meaning::Time),
    (&["year"], Meaning::Year),
    (&["age"], Meaning::Age),
    (&["latitude", "lat"], Meaning::Latitude),
    (&["longitude", "lon", "lng"], Meaning::Longitude),
    (&["currency"], Meaning::Currency),
    (&["language", "lang", "locale"], Meaning::Language),
    (&["color", "colour"], Meaning::Color),
    (&["country", "nation"], Meaning::Country),
    (&["city", "location", "town", "place", "destination_city", "region", "origin"], Meaning::City),
    (&["company", "organization", "organisation", "vendor", "brand"], Meaning::Company),
    (&["id", "uuid", "identifier", "key", "code", "number", "sku"], Meaning::Id),
    (&["query", "search", "keyword", "keywords", "term", "pattern", "topic", "question"], Meaning::Query),
    (&["message", "text", "content", "body", "note", "comment", "prompt", "description", "contents"], Meaning::Message),
    (&["title", "subject", "label", "heading", "project", "product", "item"], Meaning::Title),
    (&["name", "user", "username", "person", "author", "recipient", "assignee", "owner", "customer"], Meaning::Person),
    (&["price", "amount", "cost", "budget", "salary", "total", "balance"], Meaning::Amount),
    (&["count", "limit", "max", "min", "quantity", "size", "num", "top", "page", "people", "guests"], Meaning::Count),
];

const BY_FORMAT: [(&str, Meaning); 8] = [
    ("email", Meaning::Email),
    ("uri", Meaning::Url),
    ("url", Meaning::Url),
    ("date", Meaning::Date),
    ("time", Meaning::Time),
    ("date-time", Meaning::Moment),
    ("uuid", Meaning::Id),
    ("duration", Meaning::Duration),
];

/// What an argument means. A meaning that needs text is not given to a number, nor the other way round.
pub(super) fn meaning(name: &str, schema: &Value) -> Meaning {
    if let Some(format) = schema.get("format").and_then(Value::as_str)
        && let Some((_, meaning)) = BY_FORMAT.iter().find(|(f, _)| *f == format)
    {
        return *meaning;
    }
    let words = words(name);
    let is_number = matches!(schema.get("type").and_then(Value::as_str), Some("integer" | "number"));
    let fits = |m: Meaning| {
        let numeric = matches!(
            m,
            Meaning::Amount | Meaning::Year | Meaning::Age | Meaning::Latitude | Meaning::Longitude | Meaning::Duration | Meaning::Count
        );
        m == Meaning::Id || numeric == is_number
    };
    let hit = |(list, m): &&(&[&str], Meaning)| fits(*m) && words.iter().any(|w| list.contains(&w.as_str()));
    if let Some((_, meaning)) = BY_WORD.iter().find(hit) {
        return *meaning;
    }
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let told = |(word, m): &&(&str, Meaning)| !is_number && about.contains(word) && fits(*m);
    BY_DESCRIPTION.iter().find(told).map_or(Meaning::Plain, |(_, m)| *m)
}

/// Where a name says nothing, its description may.
const BY_DESCRIPTION: [(&str, Meaning); 6] = [
    ("airport", Meaning::City),
    ("city", Meaning::City),
    ("date in", Meaning::Date),
    ("file path", Meaning::Path),
    ("email address", Meaning::Email),
    ("search", Meaning::Query),
];
