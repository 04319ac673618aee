use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;

/// An ordered map that is asked for keys in rising order: one walk instead of a search for each.
pub struct Abreast<'a, K, V>(Peekable<btree_map::Iter<'a, K, V>>);

impl<'a, K: Ord, V> Abreast<'a, K, V> {
    /// From its first key on.
    pub fn of(map: &'a BTreeMap<K, V>) -> Self {
        Self(map.iter().peekable())
    }

    /// The value of a key that is greater than all before.
    pub fn get(&mut self, key: &K) -> Option<&'a V> {
        while self.0.next_if(|(other, _)| *other < key).is_some() {}
        self.0.next_if(|(other, _)| *other == key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_search_finds() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let some = |rng: &mut fastrand::Rng| -> BTreeMap<u8, u8> {
                (0..rng.usize(..20)).map(|_| (rng.u8(..30), rng.u8(..))).collect()
            };
            let (map, keys) = (some(&mut rng), some(&mut rng));
            let mut walk = Abreast::of(&map);
            for key in keys.keys() {
                assert_eq!(walk.get(key), map.get(key), "seed {seed}");
            }
        }
    }
}
