//! How much CO2 a country's electricity stands for.

/// Where the figures come from.
pub const ATTRIBUTION: &str = "Carbon intensity of electricity: Our World in Data, from Ember and the Energy Institute; CC BY 4.0";

const TABLE: &str = include_str!("grid_intensity_by_iso3.csv");

/// A country and its grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Country {
    /// ISO 3166-1 alpha-3.
    pub iso: String,
    /// Its name.
    pub name: String,
    /// Grams of CO2 equivalents for a kilowatt hour, over the life of the power stations.
    pub grams_per_kwh: f64,
    /// The year of that figure.
    pub year: u16,
}

/// A country by its code of three letters.
pub fn country(iso: &str) -> Option<Country> {
    let wanted = iso.trim().to_uppercase();
    let mut rows = csv::Reader::from_reader(TABLE.as_bytes());
    let row = rows.records().flatten().find(|row| row.get(0) == Some(wanted.as_str()))?;
    Some(Country { iso: wanted, name: row.get(1)?.to_owned(), grams_per_kwh: row.get(2)?.parse().ok()?, year: row.get(3)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_country() {
        let codes: Vec<&str> = TABLE.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
        assert!(codes.len() > 200);
        for code in codes {
            let c = country(code).unwrap_or_else(|| panic!("{code}"));
            assert!(c.grams_per_kwh >= 0.0 && c.grams_per_kwh < 2000.0 && c.year > 1990 && !c.name.is_empty(), "{c:?}");
        }
        assert_eq!(country("deu").unwrap().name, "Germany");
        assert!(country("XXX").is_none());
    }
}
