//! The words of the small world. Demo requests draw their slots from the same lists, so that the base model knows them.

/// A first name and whether its bearer is a she.
pub const PEOPLE: [(&str, bool); 24] = [
    ("Anna", true),
    ("Mark", false),
    ("Lucy", true),
    ("Tom", false),
    ("Sara", true),
    ("Ben", false),
    ("Emma", true),
    ("Paul", false),
    ("Nina", true),
    ("Jack", false),
    ("Clara", true),
    ("Oscar", false),
    ("Rosa", true),
    ("Leo", false),
    ("Mia", true),
    ("Sam", false),
    ("Ruth", true),
    ("Hugo", false),
    ("Julia", true),
    ("Adam", false),
    ("Vera", true),
    ("Peter", false),
    ("Ida", true),
    ("Felix", false),
];

/// Country, capital, continent.
pub const COUNTRIES: [(&str, &str, &str); 24] = [
    ("Norway", "Oslo", "Europe"),
    ("Sweden", "Stockholm", "Europe"),
    ("Finland", "Helsinki", "Europe"),
    ("Denmark", "Copenhagen", "Europe"),
    ("France", "Paris", "Europe"),
    ("Germany", "Berlin", "Europe"),
    ("Spain", "Madrid", "Europe"),
    ("Italy", "Rome", "Europe"),
    ("Portugal", "Lisbon", "Europe"),
    ("Greece", "Athens", "Europe"),
    ("Austria", "Vienna", "Europe"),
    ("Poland", "Warsaw", "Europe"),
    ("Ireland", "Dublin", "Europe"),
    ("England", "London", "Europe"),
    ("Hungary", "Budapest", "Europe"),
    ("Japan", "Tokyo", "Asia"),
    ("China", "Beijing", "Asia"),
    ("Thailand", "Bangkok", "Asia"),
    ("Egypt", "Cairo", "Africa"),
    ("Kenya", "Nairobi", "Africa"),
    ("Peru", "Lima", "America"),
    ("Cuba", "Havana", "America"),
    ("Canada", "Ottawa", "America"),
    ("Chile", "Santiago", "America"),
];

/// Days of the week in order.
pub const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Months in order.
pub const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// Rooms of a house.
pub const ROOMS: [&str; 10] = ["kitchen", "bathroom", "bedroom", "hall", "garage", "office", "attic", "cellar", "library", "garden"];

/// Colours.
pub const COLOURS: [&str; 10] = ["red", "blue", "green", "yellow", "white", "black", "brown", "orange", "pink", "grey"];

/// Things that can be carried: singular and plural.
pub const THINGS: [(&str, &str); 24] = [
    ("ball", "balls"),
    ("book", "books"),
    ("cup", "cups"),
    ("hat", "hats"),
    ("key", "keys"),
    ("lamp", "lamps"),
    ("box", "boxes"),
    ("coat", "coats"),
    ("spoon", "spoons"),
    ("pencil", "pencils"),
    ("bag", "bags"),
    ("map", "maps"),
    ("bell", "bells"),
    ("clock", "clocks"),
    ("kite", "kites"),
    ("drum", "drums"),
    ("chair", "chairs"),
    ("basket", "baskets"),
    ("boat", "boats"),
    ("rope", "ropes"),
    ("stone", "stones"),
    ("letter", "letters"),
    ("candle", "candles"),
    ("blanket", "blankets"),
];

/// Things to buy and eat.
pub const FOODS: [&str; 20] = [
    "milk", "bread", "butter", "cheese", "rice", "sugar", "salt", "honey", "tea", "coffee", "soup", "apples", "eggs", "carrots", "onions",
    "lemons", "plums", "beans", "nuts", "potatoes",
];

/// Animal, its plural, what it says, legs, where it lives, what it eats.
pub const ANIMALS: [(&str, &str, &str, u32, &str, &str); 14] = [
    ("dog", "dogs", "woof", 4, "house", "meat"),
    ("cat", "cats", "meow", 4, "house", "fish"),
    ("cow", "cows", "moo", 4, "barn", "grass"),
    ("duck", "ducks", "quack", 2, "pond", "bread"),
    ("sheep", "sheep", "baa", 4, "field", "grass"),
    ("pig", "pigs", "oink", 4, "barn", "corn"),
    ("owl", "owls", "hoo", 2, "forest", "mice"),
    ("frog", "frogs", "croak", 4, "pond", "flies"),
    ("bee", "bees", "buzz", 6, "hive", "honey"),
    ("hen", "hens", "cluck", 2, "barn", "corn"),
    ("horse", "horses", "neigh", 4, "field", "hay"),
    ("mouse", "mice", "squeak", 4, "hole", "cheese"),
    ("lion", "lions", "roar", 4, "desert", "meat"),
    ("bird", "birds", "tweet", 2, "nest", "seeds"),
];

/// What has a colour that everyone knows, with its verb.
pub const COLOURED: [(&str, &str, &str); 16] = [
    ("grass", "is", "green"),
    ("the sky", "is", "blue"),
    ("snow", "is", "white"),
    ("coal", "is", "black"),
    ("blood", "is", "red"),
    ("the sun", "is", "yellow"),
    ("milk", "is", "white"),
    ("a lemon", "is", "yellow"),
    ("a carrot", "is", "orange"),
    ("the sea", "is", "blue"),
    ("a leaf", "is", "green"),
    ("chocolate", "is", "brown"),
    ("an elephant", "is", "grey"),
    ("a flamingo", "is", "pink"),
    ("a tomato", "is", "red"),
    ("the night", "is", "black"),
];

/// Opposites; each also reads backwards.
pub const OPPOSITES: [(&str, &str); 20] = [
    ("big", "small"),
    ("hot", "cold"),
    ("up", "down"),
    ("left", "right"),
    ("old", "young"),
    ("open", "closed"),
    ("fast", "slow"),
    ("happy", "sad"),
    ("light", "dark"),
    ("wet", "dry"),
    ("full", "empty"),
    ("high", "low"),
    ("long", "short"),
    ("early", "late"),
    ("good", "bad"),
    ("hard", "soft"),
    ("near", "far"),
    ("loud", "quiet"),
    ("on", "off"),
    ("rich", "poor"),
];

/// Places of stories.
pub const PLACES: [&str; 16] = [
    "park", "market", "school", "lake", "forest", "beach", "river", "station", "farm", "bakery", "museum", "village", "bridge", "mountain",
    "garden", "library",
];

/// Weather, as an adjective.
pub const WEATHER: [&str; 8] = ["sunny", "rainy", "windy", "cloudy", "snowy", "warm", "cold", "foggy"];

/// Trades, with their article.
pub const JOBS: [&str; 12] = [
    "a baker",
    "a teacher",
    "a doctor",
    "a farmer",
    "a painter",
    "a driver",
    "a nurse",
    "a cook",
    "a singer",
    "a pilot",
    "a gardener",
    "a tailor",
];

/// Short news that one person gives another.
pub const NEWS: [&str; 14] = [
    "dinner is ready",
    "the train is late",
    "the door is open",
    "the bus is here",
    "the cake is good",
    "the meeting is over",
    "the car is clean",
    "lunch is at noon",
    "the game is on",
    "the shop is closed",
    "the soup is hot",
    "the key is under the mat",
    "the dog is hungry",
    "the flowers are for you",
];

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// A number below 100 in words; above, in digits.
pub fn number(n: u32) -> String {
    match n {
        0..20 => SMALL[n as usize].to_owned(),
        20..100 if n.is_multiple_of(10) => TENS[n as usize / 10 - 2].to_owned(),
        20..100 => format!("{}-{}", TENS[n as usize / 10 - 2], SMALL[n as usize % 10]),
        _ => n.to_string(),
    }
}

/// The same text with a capital first letter.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
