//! An ordered map whose copies share what is alike in them: with thousands of entries, a copy in which one is another
//! costs about as much as that one.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most entries of one leaf: a change copies a leaf, and as many pointers as there are leaves. 32 is about the root of
/// 1,000.
const LEAF: usize = 32;

type Leaf<V> = Vec<(Arc<str>, V)>;

/// Values by name, in the order of names. A clone is one pointer.
#[derive(Clone)]
pub struct Catalog<V> {
    /// In order, none empty.
    leaves: Arc<Vec<Arc<Leaf<V>>>>,
    len: usize,
}

/// One entry that two catalogs do not have alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a, V> {
    /// Its name.
    pub key: &'a Arc<str>,
    /// What it was; none: it is new.
    pub old: Option<&'a V>,
    /// What it is; none: it is gone.
    pub new: Option<&'a V>,
}

impl<V> Default for Catalog<V> {
    fn default() -> Self {
        Self { leaves: Arc::default(), len: 0 }
    }
}

impl<V> Catalog<V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of that name.
    pub fn get(&self, key: &str) -> Option<&V> {
        let (leaf, place) = self.locate(key);
        Some(&self.leaves.get(leaf)?.get(place.ok()?)?.1)
    }

    /// Whether there is such an entry.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// All entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.leaves.iter().flat_map(|leaf| leaf.iter()).map(|(key, value)| (key, value))
    }

    /// Entries from that name on.
    pub fn since<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a V)> {
        let (first, _) = self.locate(key);
        let entries = self.leaves.iter().skip(first).flat_map(|leaf| leaf.iter());
        entries.map(|(key, value)| (key, value)).skip_while(move |(name, _)| &***name < key)
    }

    /// All names.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, by name.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The leaf that has the name, or would have it, and where in it.
    fn locate(&self, key: &str) -> (usize, Result<usize, usize>) {
        let ends_before = |leaf: &Arc<Leaf<V>>| leaf.last().is_some_and(|(last, _)| **last < *key);
        let at = self.leaves.partition_point(ends_before).min(self.leaves.len().saturating_sub(1));
        let place = self.leaves.get(at).map(|leaf| leaf.binary_search_by(|(name, _)| (**name).cmp(key)));
        (at, place.unwrap_or(Err(0)))
    }
}

impl<V: Clone> Catalog<V> {
    /// The value of that name, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let (at, place) = self.locate(key);
        let place = place.ok()?;
        let leaf = Arc::make_mut(Arc::make_mut(&mut self.leaves).get_mut(at)?);
        Some(&mut leaf.get_mut(place)?.1)
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let leaves = Arc::make_mut(&mut self.leaves).iter_mut();
        leaves.flat_map(Arc::make_mut).map(|(_, value)| value)
    }

    /// Puts a value there; what was there before comes back.
    pub fn insert(&mut self, key: impl Into<Arc<str>>, value: V) -> Option<V> {
        let key = key.into();
        let (at, place) = self.locate(&key);
        let leaves = Arc::make_mut(&mut self.leaves);
        if let Ok(place) = place {
            let (_, old) = Arc::make_mut(leaves.get_mut(at)?).get_mut(place)?;
            return Some(std::mem::replace(old, value));
        }
        self.len += 1;
        let place = place.unwrap_or_else(|place| place);
        match leaves.get_mut(at).map(Arc::make_mut) {
            Some(leaf) if leaf.len() < LEAF => leaf.insert(place, (key, value)),
            // Behind the last: entries that come in order fill each leaf.
            Some(leaf) if place < leaf.len() => {
                let mut rest = leaf.split_off(LEAF / 2);
                match place.checked_sub(leaf.len()) {
                    Some(place) => rest.insert(place, (key, value)),
                    None => leaf.insert(place, (key, value)),
                }
                leaves.insert(at + 1, Arc::new(rest));
            }
            _ => leaves.push(Arc::new(vec![(key, value)])),
        }
        None
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let (at, place) = self.locate(key);
        let place = place.ok()?;
        let leaves = Arc::make_mut(&mut self.leaves);
        let leaf = Arc::make_mut(leaves.get_mut(at)?);
        let (_, value) = leaf.remove(place);
        if leaf.is_empty() {
            leaves.remove(at);
        }
        self.len -= 1;
        Some(value)
    }
}

impl<V: PartialEq> Catalog<V> {
    /// What is not as it was in `before`, by name. What the two share is not looked at.
    pub fn changes<'a>(&'a self, before: &'a Self) -> Vec<Change<'a, V>> {
        if Arc::ptr_eq(&self.leaves, &before.leaves) {
            return Vec::new();
        }
        let mut old = before.apart(self).peekable();
        let mut changes = Vec::new();
        for (key, value) in self.apart(before) {
            while let Some((key, old)) = old.next_if(|(gone, _)| *gone < *key) {
                changes.push(Change { key, old: Some(old), new: None });
            }
            let was = old.next_if(|(was, _)| was == key).map(|(_, was)| was);
            if was != Some(value) {
                changes.push(Change { key, old: was, new: Some(value) });
            }
        }
        changes.extend(old.map(|(key, old)| Change { key, old: Some(old), new: None }));
        changes
    }

    /// Entries of leaves that the other does not have. No entry of a leaf that both have is in another leaf of either.
    fn apart<'a>(&'a self, other: &Self) -> impl Iterator<Item = &'a (Arc<str>, V)> + use<'a, V> {
        let theirs: HashSet<_> = other.leaves.iter().map(Arc::as_ptr).collect();
        self.leaves
            .iter()
            .filter(move |leaf| !theirs.contains(&Arc::as_ptr(leaf)))
            .flat_map(|leaf| leaf.iter())
    }
}

impl<V: PartialEq> PartialEq for Catalog<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.changes(other).is_empty()
    }
}

impl<V: Eq> Eq for Catalog<V> {}

impl<K: AsRef<str> + ?Sized, V> Index<&K> for Catalog<V> {
    type Output = V;

    /// # Panics
    /// There is no such entry.
    fn index(&self, key: &K) -> &V {
        self.get(key.as_ref()).expect("the catalog has the entry")
    }
}

impl<V: fmt::Debug> fmt::Debug for Catalog<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<Arc<str>>, V: Clone> FromIterator<(K, V)> for Catalog<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut catalog = Self::default();
        for (key, value) in entries {
            catalog.insert(key, value);
        }
        catalog
    }
}

impl<V: Serialize> Serialize for Catalog<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(key, value)| (&**key, value)))
    }
}

impl<'de, V: Clone + Deserialize<'de>> Deserialize<'de> for Catalog<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);

        impl<'de, V: Clone + Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Catalog<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut catalog = Catalog::default();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    catalog.insert(key, value);
                }
                Ok(catalog)
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A generator of its own (xorshift): a failure is repeated by its seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }
    }

    fn alike(catalog: &Catalog<u64>, map: &BTreeMap<String, u64>) -> bool {
        catalog.len() == map.len()
            && catalog.iter().map(|(key, value)| (&**key, value)).eq(map.iter().map(|(k, v)| (&**k, v)))
            && catalog.leaves.iter().all(|leaf| (1..=LEAF).contains(&leaf.len()))
    }

    #[test]
    fn it_is_an_ordered_map_and_tells_what_changed() {
        for seed in 1..=40 {
            let (mut dice, mut catalog, mut map) = (Dice(seed), Catalog::default(), BTreeMap::new());
            for _ in 0..60 {
                let (before, was) = (catalog.clone(), map.clone());
                for _ in 0..dice.below(40) {
                    let (key, value) = (format!("s{}", dice.below(400)), dice.below(3));
                    if dice.below(3) == 0 {
                        assert_eq!(catalog.remove(&key), map.remove(&key), "seed {seed}");
                    } else {
                        assert_eq!(catalog.insert(key.clone(), value), map.insert(key, value), "seed {seed}");
                    }
                }
                assert!(alike(&catalog, &map) && alike(&before, &was), "seed {seed}");
                let mut told = was.clone();
                for Change { key, old, new } in catalog.changes(&before) {
                    assert_eq!(old, was.get(&**key), "seed {seed}");
                    assert_ne!(old, new, "seed {seed}");
                    match new {
                        Some(new) => drop(told.insert(key.to_string(), *new)),
                        None => drop(told.remove(&**key)),
                    }
                }
                assert_eq!(told, map, "seed {seed}");
                let from = format!("s{}", dice.below(400));
                let since = catalog.since(&from).map(|(key, _)| &**key);
                assert!(since.eq(map.range(from.clone()..).map(|(key, _)| &**key)), "seed {seed}");
                assert_eq!(catalog == before, map == was, "seed {seed}");
                let json = serde_json::to_string(&catalog).unwrap();
                assert_eq!(json, serde_json::to_string(&map).unwrap());
                assert_eq!(serde_json::from_str::<Catalog<u64>>(&json).unwrap(), catalog);
            }
        }
    }

    #[test]
    fn a_changed_copy_shares_all_but_one_leaf() {
        let all: Catalog<u64> = (0..1_000).map(|number| (format!("s{number:04}"), number)).collect();
        assert_eq!(all.leaves.len(), 1_000usize.div_ceil(LEAF), "what comes in order fills each leaf");
        let mut next = all.clone();
        next.insert("s0500", 7);
        let apart = next.leaves.iter().zip(&*all.leaves).filter(|(new, old)| !Arc::ptr_eq(new, old));
        assert_eq!(apart.count(), 1);
    }
}
