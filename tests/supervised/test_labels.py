"""Labels and word vectors, and every way they can be wrong."""

import numpy as np
import pytest

from drqfaiss.supervised.labels import label_matrix, read_word_vectors


def test_class_numbers_become_a_matrix():
    assert label_matrix([2, 0], 2).tolist() == [[False, False, True], [True, False, False]]
    assert label_matrix(np.array([1], np.uint8), 1, classes=4).shape == (1, 4)


def test_several_classes_stay():
    assert label_matrix([[0, 1, 1]], 1).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 3], 3, "labels: got class 3 of sample 1, expected 0 to 2"),
        ([0, -1], None, "labels: got class -1 of sample 1, expected 0 to 0"),
        ([0, 1, 2], None, r"labels: got shape \(3,\), expected \(2,\) or \(2, classes\)"),
        ([[0, 1], [1, 0]], 3, r"labels: got shape \(2, 2\), expected \(2, 3\)"),
        ([[0, 2], [1, 0]], None, "labels: got 0 to 2, expected a matrix of 0 and 1"),
        ([[0, 0], [1, 0]], None, "labels: got 1 samples without a class, the first is 0"),
        ([[[0]], [[1]]], None, "labels: got shape"),
    ],
)
def test_bad_labels(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        label_matrix(labels, 2, classes)


def test_labels_that_are_no_integers():
    with pytest.raises(TypeError, match="labels: got float64, expected integers"):
        label_matrix([0.5, 1.0], 2)


def test_word_vectors_of_names(tmp_path):
    (tmp_path / "words.txt").write_text("cat 1 2\ntree -1 0\nfrog 3 5\nother 0 0\n")
    vectors = read_word_vectors(tmp_path / "words.txt", ["frog", "Tree_frog", "cat"])
    assert vectors.tolist() == [[3, 5], [1, 2.5], [1, 2]]


def test_a_class_without_word_vector(tmp_path):
    (tmp_path / "words.txt").write_text("cat 1 2\n")
    with pytest.raises(ValueError, match=r"no word vector for the classes \['dog'\]"):
        read_word_vectors(tmp_path / "words.txt", ["cat", "dog"])


def test_a_malformed_line(tmp_path):
    (tmp_path / "words.txt").write_text("cat 1 2\ndog 1 two\n")
    with pytest.raises(ValueError, match=r"words\.txt: line 2: expected a word and numbers"):
        read_word_vectors(tmp_path / "words.txt", ["dog"])
