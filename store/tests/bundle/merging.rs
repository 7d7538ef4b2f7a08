//! Many files as one.

use super::*;

/// What is wrong with the bytes of a chunk comes out when all else is merged.
#[test]
fn a_merge_leaves_out_a_file_whose_chunks_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = write_node(folder.path(), "whole");
    let broken = write_node(folder.path(), "broken");
    // A chunk goes on in many pages; the first of them leads nowhere.
    let db = Connection::open(&broken).expect("a file");
    db.execute_batch("UPDATE raw_chunk SET data = zeroblob(60000)").expect("made long");
    let sql = "SELECT min(pageno) FROM dbstat WHERE name = 'raw_chunk' AND pagetype = 'overflow'";
    let page: u64 = one::<i64>(&db, sql).unsigned_abs();
    drop(db);
    let mut bytes = fs::read(&broken).expect("read");
    let at = (page as usize - 1) * 4096;
    bytes[at..at + 4].fill(0xff);
    fs::write(&broken, bytes).expect("damaged");
    let output = folder.path().join("merged");
    let merged = merge(&[broken.clone(), whole.clone()], &output).expect("merged");
    assert_eq!(merged.files, std::slice::from_ref(&whole));
    assert_eq!(merged.problems.len(), 1);
    let told = merged.problems[0].error.to_string();
    assert!(told.contains("broken.db is damaged: the pages of its table raw_chunk"), "{told}");
    let [expected, found] =
        [whole, output].map(|path| everything(&Bundle::open(&[path]).expect("a bundle")));
    assert_eq!(found, expected);
}

#[test]
fn a_merge_does_not_overwrite() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_node(folder.path(), "a");
    let error = merge(std::slice::from_ref(&path), &path).expect_err("exists");
    assert!(error.to_string().contains("exists already"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Any order, any grouping, any file twice: the same answers.
    #[test]
    fn merging_is_a_union(
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        twice in 0_usize..4,
        first in 1_usize..5,
    ) {
        static NODES: LazyLock<(tempfile::TempDir, Vec<PathBuf>)> = LazyLock::new(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let mut nodes = ["a", "b"].map(|name| write_node(folder.path(), name)).to_vec();
            nodes.extend(write_growing(folder.path()));
            (folder, nodes)
        });
        let (_, nodes) = &*NODES;
        let folder = tempfile::tempdir().expect("a folder");
        // The last is a copy of the one before from when it was half written.
        let expected = everything(&Bundle::open(&nodes[..3]).expect("a bundle"));
        prop_assert!(expected.len() > 600);

        let mut files: Vec<PathBuf> = order.iter().map(|at| nodes[*at].clone()).collect();
        files.push(nodes[twice].clone());
        let (left, right) = files.split_at(first);
        let part = folder.path().join("part.merged");
        let whole = folder.path().join("whole.merged");
        merge(left, &part).expect("merged");
        let mut rest = right.to_vec();
        rest.push(part.clone());
        let merged = merge(&rest, &whole).expect("merged");
        prop_assert!(merged.problems.is_empty());
        let mut answers = everything(&Bundle::open(std::slice::from_ref(&whole)).expect("a bundle"));
        prop_assert_eq!(&answers, &expected);
        answers = everything(&Bundle::open(&[part, nodes[0].clone(), whole, nodes[2].clone()])
            .expect("a bundle"));
        prop_assert_eq!(&answers, &expected);
    }
}
