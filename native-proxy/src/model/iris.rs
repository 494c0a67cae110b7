//! The flowers: 150 irises as Fisher published them (see `docs/model.md` for source and licence).

use serde::Deserialize;

/// The rows, 50 of each species.
const ROWS: &str = include_str!("iris.csv");

/// Every fifth flower of a species is held out.
const HELD_OUT_EACH: usize = 5;

/// A species of iris.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Species {
    Setosa,
    Versicolor,
    Virginica,
}

impl Species {
    /// Every species, in the order of the predictions.
    pub(super) const ALL: [Self; 3] = [Self::Setosa, Self::Versicolor, Self::Virginica];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Setosa => "setosa",
            Self::Versicolor => "versicolor",
            Self::Virginica => "virginica",
        }
    }

    /// Its place in [`Self::ALL`].
    pub(super) const fn place(self) -> usize {
        self as usize
    }
}

/// Sepal length, sepal width, petal length and petal width, in centimetres.
pub(super) type Measures = [f64; 4];

/// One flower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flower {
    pub(super) measures: Measures,
    pub(super) species: Species,
}

/// The flowers, in two parts that share none.
#[derive(Debug)]
pub(super) struct Flowers {
    /// What the classifier learns from.
    pub(super) learnt: Vec<Flower>,
    /// What it is judged by.
    pub(super) held_out: Vec<Flower>,
}

/// Reads the flowers. The parts are the same in every run: a fifth of each species is held out.
///
/// # Errors
/// The rows of the program are broken.
pub(super) fn flowers() -> Result<Flowers, csv::Error> {
    let mut flowers = Flowers { learnt: Vec::new(), held_out: Vec::new() };
    let mut seen = [0; Species::ALL.len()];
    for row in csv::Reader::from_reader(ROWS.as_bytes()).deserialize() {
        let (a, b, c, d, species): (f64, f64, f64, f64, Species) = row?;
        let flower = Flower { measures: [a, b, c, d], species };
        let number = &mut seen[species.place()];
        *number += 1;
        if *number % HELD_OUT_EACH == 0 {
            flowers.held_out.push(flower);
        } else {
            flowers.learnt.push(flower);
        }
    }
    Ok(flowers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flowers' own summary, from the data set's description by its keepers.
    #[test]
    fn the_flowers_are_fishers() {
        let Flowers { mut learnt, held_out } = flowers().unwrap();
        learnt.extend(held_out);
        for species in Species::ALL {
            assert_eq!(learnt.iter().filter(|one| one.species == species).count(), 50);
        }
        for (column, least, most, mean) in
            [(0, 4.3, 7.9, 5.84), (1, 2.0, 4.4, 3.06), (2, 1.0, 6.9, 3.76), (3, 0.1, 2.5, 1.20)]
        {
            let values: Vec<f64> = learnt.iter().map(|one| one.measures[column]).collect();
            assert_eq!(values.iter().copied().fold(f64::MAX, f64::min), least);
            assert_eq!(values.iter().copied().fold(f64::MIN, f64::max), most);
            let of_all = values.iter().sum::<f64>() / 150.0;
            assert!((of_all - mean).abs() < 0.005, "column {column}: {of_all}");
        }
        // The two flowers that another copy in wide use has wrong (the 35th and the 38th setosa).
        let has = |measures| learnt.iter().any(|one| one.measures == measures);
        assert!(has([4.9, 3.1, 1.5, 0.2]) && has([4.9, 3.6, 1.4, 0.1]));
    }

    #[test]
    fn a_fifth_of_each_species_is_held_out() {
        let flowers = flowers().unwrap();
        assert_eq!((flowers.learnt.len(), flowers.held_out.len()), (120, 30));
        for species in Species::ALL {
            let held_out = flowers.held_out.iter().filter(|one| one.species == species);
            assert_eq!(held_out.count(), 10, "{species:?}");
        }
    }
}
