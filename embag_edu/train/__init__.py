"""Models of a few lines on the real reviews, trained with torch's EmbeddingBag or any of ours.

    from embag_edu.train import Plan, train

    trained = train(Plan("department", implementation="vectorized"))
    trained.accuracy

`examples` turns reviews into bags and batches, `models` holds the classifier, `fitting` trains it
and says how well it does, `recommender` is a model of several tables, `learnt` looks into a
trained table, `record` compares the implementations.
`python -m embag_edu train` does it from the command line. It needs torch.
"""

from embag_edu.train.examples import Examples, Reader, collate, read_with, split
from embag_edu.train.fitting import Plan, Trained, accuracy, auc, load, save, train
from embag_edu.train.models import TextClassifier, bag_of
from embag_edu.train.recommender import Recommender

__all__ = ["Examples", "Plan", "Reader", "Recommender", "TextClassifier", "Trained", "accuracy"]
__all__ += ["auc", "bag_of", "collate", "load", "read_with", "save", "split", "train"]
