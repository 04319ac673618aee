//! How many changes one call may carry. Pure.

use super::records::Change;

/// Values of records in one call; one that is replaced counts twice (quotas of `ChangeResourceRecordSets`, Amazon Route 53
/// Developer Guide).
const VALUES: usize = 1_000;
/// Characters in all values of one call; also twice where replaced.
const CHARACTERS: usize = 32_000;

/// Calls for `changes`, in their order. The changes of one name stay in one call, which is done whole or not at all.
pub fn batches(changes: &[Vec<Change>]) -> Vec<&[Vec<Change>]> {
    let (mut batches, mut rest) = (Vec::new(), changes);
    while !rest.is_empty() {
        let (mut values, mut characters) = (0, 0);
        let fit = rest.iter().take_while(|name| {
            for change in *name {
                let (more, longer) = weight(change);
                values += more;
                characters += longer;
            }
            values <= VALUES && characters <= CHARACTERS
        });
        // One name is far below the limits.
        let (batch, after) = rest.split_at(fit.count().max(1));
        batches.push(batch);
        rest = after;
    }
    batches
}

/// Values and their characters, as Route 53 counts them.
fn weight(change: &Change) -> (usize, usize) {
    let (record, times) = match change {
        Change::Create(record) | Change::Delete(record) => (record, 1),
        Change::Replace(record) => (record, 2),
    };
    let characters: usize = record.values.iter().map(|value| value.chars().count()).sum();
    (times * record.values.len(), times * characters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::records::Record;

    fn change(values: usize, length: usize) -> Record {
        let values = (0..values).map(|_| "x".repeat(length)).collect();
        Record { name: "cart.mesh.internal.".into(), kind: "A".into(), ttl: 10, values }
    }

    fn sizes(changes: &[Vec<Change>]) -> Vec<usize> {
        batches(changes).iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_call_has_at_most_a_thousand_values_and_32000_characters() {
        let new = vec![Change::Create(change(1, 10)), Change::Create(change(8, 7))];
        assert_eq!(sizes(&vec![new; 250]), [111, 111, 28]);
        assert_eq!(sizes(&vec![vec![Change::Replace(change(8, 7))]; 125]), [62, 62, 1]);
        assert_eq!(sizes(&vec![vec![Change::Delete(change(1, 320))]; 101]), [100, 1]);
        assert_eq!(sizes(&vec![vec![Change::Replace(change(1, 320))]; 101]), [50, 50, 1]);
        assert_eq!(
            sizes(&[vec![Change::Create(change(2_000, 1))], vec![Change::Create(change(1, 1))]]),
            [1, 1]
        );
        assert!(batches(&[]).is_empty());
    }
}
