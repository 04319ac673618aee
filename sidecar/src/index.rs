//! A map for look-up whose copies share what is alike in them: a copy in which one entry is another costs about as much
//! as that one, and to look into it no more than any other map of its size.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash};
use std::sync::Arc;

use crate::hash::Fnv;

/// Entries of one shard when it is full, on average: a change copies a shard, and as many pointers as there are shards.
const FULL: usize = 32;

/// Values by key, in no order. Nobody outside can choose keys to collide: they come from the configuration.
pub struct Index<K, V> {
    /// A power of two of them; each in the order of hashes.
    shards: Vec<Arc<Vec<Entry<K, V>>>>,
    len: usize,
}

#[derive(Clone)]
struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
}

impl<K, V> Default for Index<K, V> {
    fn default() -> Self {
        Self { shards: vec![Arc::default()], len: 0 }
    }
}

impl<K, V> Clone for Index<K, V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), len: self.len }
    }
}

impl<K, V> Index<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|entry| (&entry.key, &entry.value))
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    fn shard_of(&self, hash: u64) -> usize {
        usize::try_from(hash).unwrap_or(usize::MAX) & (self.shards.len() - 1)
    }
}

impl<K, V> Index<K, V> {
    /// The value of that key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = hash(key);
        let shard = self.shards.get(self.shard_of(hash))?;
        Some(&shard.get(place(shard, hash, key).ok()?)?.value)
    }

    /// Whether there is such an entry.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Index<K, V> {
    /// Puts a value there; what was there before comes back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.len == FULL * self.shards.len() {
            self.grow();
        }
        let hash = hash(&key);
        let at = self.shard_of(hash);
        let shard = Arc::make_mut(self.shards.get_mut(at)?);
        match place(shard, hash, &key) {
            Ok(place) => Some(std::mem::replace(&mut shard.get_mut(place)?.value, value)),
            Err(place) => {
                shard.insert(place, Entry { hash, key, value });
                self.len += 1;
                None
            }
        }
    }

    /// Takes an entry out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let hash = hash(key);
        let at = self.shard_of(hash);
        let shard = self.shards.get_mut(at)?;
        let place = place(shard, hash, key).ok()?;
        self.len -= 1;
        Some(Arc::make_mut(shard).remove(place).value)
    }

    fn grow(&mut self) {
        let shards = self.shards.len() * 2;
        let mut all: Vec<Vec<Entry<K, V>>> = (0..shards).map(|_| Vec::with_capacity(FULL)).collect();
        let grown = Self { shards: vec![Arc::default(); shards], len: self.len };
        // In the order of hashes, as they come.
        for entry in self.shards.iter().flat_map(|shard| shard.iter()) {
            if let Some(shard) = all.get_mut(grown.shard_of(entry.hash)) {
                shard.push(entry.clone());
            }
        }
        *self = Self { shards: all.into_iter().map(Arc::new).collect(), ..grown };
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Index<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    BuildHasherDefault::<Fnv>::default().hash_one(key)
}

/// Where the key is, or would be.
fn place<K: Borrow<Q>, V, Q: Eq + ?Sized>(shard: &[Entry<K, V>], hash: u64, key: &Q) -> Result<usize, usize> {
    let first = shard.partition_point(|entry| entry.hash < hash);
    for (place, entry) in shard.iter().enumerate().skip(first) {
        if entry.hash != hash {
            return Err(place);
        }
        if entry.key.borrow() == key {
            return Ok(place);
        }
    }
    Err(shard.len())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_is_a_map_and_a_copy_stays_as_it_was() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut index, mut map) = (Index::<Arc<str>, u32>::default(), HashMap::<Arc<str>, u32>::new());
            let mut before = None;
            for round in 0..4_000 {
                let (key, value) = (Arc::from(format!("s{}:80", rng.u32(..1_000))), rng.u32(..));
                if rng.u8(..3) == 0 {
                    assert_eq!(index.remove(&*key), map.remove(&key), "seed {seed}");
                } else {
                    assert_eq!(index.insert(Arc::clone(&key), value), map.insert(key, value), "seed {seed}");
                }
                if round == 2_000 {
                    before = Some((index.clone(), map.clone()));
                }
            }
            for (index, map) in [before.unwrap(), (index, map)] {
                assert_eq!((index.len(), index.iter().count()), (map.len(), map.len()), "seed {seed}");
                assert!(map.iter().all(|(key, value)| index.get(&**key) == Some(value)), "seed {seed}");
                assert!(!index.contains_key("another") && index.values().count() > 32);
            }
        }
    }

    #[test]
    fn shards_are_about_as_full_as_each_other() {
        let mut index = Index::<Arc<str>, ()>::default();
        for number in 0..3_000 {
            index.insert(format!("service-{number:04}.shop:8080").into(), ());
        }
        let most = index.shards.iter().map(|shard| shard.len()).max();
        assert!(most <= Some(2 * FULL), "{most:?}");
        let mut addresses = Index::<std::net::SocketAddr, ()>::default();
        for number in 0..3_000u32 {
            addresses.insert((std::net::Ipv4Addr::from(0x0a00_0000 + number), 8080).into(), ());
        }
        let most = addresses.shards.iter().map(|shard| shard.len()).max();
        assert!(most <= Some(2 * FULL), "{most:?}");
    }

    #[test]
    fn a_changed_copy_shares_all_but_one_shard() {
        let mut index = Index::<Arc<str>, u32>::default();
        for number in 0..1_000 {
            index.insert(format!("s{number}").into(), number);
        }
        let mut next = index.clone();
        next.insert("s500".into(), 7);
        next.remove("another");
        let apart = next.shards.iter().zip(&index.shards).filter(|(new, old)| !Arc::ptr_eq(new, old));
        assert_eq!(apart.count(), 1);
    }
}
