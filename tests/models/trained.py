"""Models as their users make them: trained, then exported by skl2onnx or onnxmltools.

Owns: data, training, export. Never: the form of a golden case (golden.py).
"""

import lightgbm
import numpy as np
import onnxmltools
import pandas as pd
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as OtherFloatTensorType
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

SHOWN = 40


def numbers(rng, rows, columns):
    """Features, a binary target, a target of three classes, a real one."""
    x = rng.normal(size=(rows, columns)).astype(np.float32)
    score = x[:, 0] + x[:, 1] ** 2 - 0.5 * x[:, 2]
    return x, (score > 0.5).astype(int), np.digitize(score, [0.0, 1.5]), 2 * score + 1


def mixed(rng, rows):
    """Rows as a bowl might send them: numbers with gaps, a text column, a binary target."""
    frame = pd.DataFrame(
        {
            "weight_mean": rng.normal(400, 60, rows).astype(np.float32),
            "weight_max": rng.normal(430, 60, rows).astype(np.float32),
            "visits": rng.integers(0, 9, rows).astype(np.float32),
            "room": rng.choice(["kitchen", "hall", "attic", "NA"], rows).astype(object),
        }
    )
    target = ((frame.weight_mean > 390) ^ (frame.room == "attic")).astype(int)
    frame.loc[::7, "weight_mean"] = np.nan
    frame.loc[3::11, "visits"] = np.nan
    return frame, target


NUMERIC = ["weight_mean", "weight_max", "visits"]
COLUMNS = [(name, FloatTensorType([None, 1])) for name in NUMERIC] + [("room", StringTensorType([None, 1]))]


def mixed_pipeline(encoder, classifier):
    """Imputer and scaler for numbers, an encoder for text, a classifier."""
    steps = [
        ("numbers", Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())]), NUMERIC),
        ("text", encoder, ["room"]),
    ]
    return Pipeline([("columns", ColumnTransformer(steps)), ("classifier", classifier)])


def feeds_of(frame):
    """One input per column, each of shape (rows, 1)."""
    return {name: frame[[name]].to_numpy() for name in frame.columns}


def mixed_cases():
    rng = np.random.default_rng(11)
    frame, target = mixed(rng, 600)
    shown = frame.iloc[:SHOWN].copy()
    one_hot = mixed_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(C=0.5)).fit(frame, target)
    unknown = shown.copy()
    unknown.loc[5, "room"] = "cellar"
    yield "mixed_logistic", convert_sklearn(one_hot, initial_types=COLUMNS), feeds_of(unknown)
    names = np.where(target > 0, "eats", "rests")
    forest = mixed_pipeline(OrdinalEncoder(), RandomForestClassifier(6, max_depth=4, random_state=1)).fit(frame, names)
    plain = {"zipmap": False}
    yield "mixed_forest_names", convert_sklearn(forest, initial_types=COLUMNS, options={id(forest): plain}), feeds_of(shown)


def scikit_cases():
    rng = np.random.default_rng(7)
    x, two, three, real = numbers(rng, 500, 6)
    for name, model, target in [
        ("random_forest", RandomForestClassifier(20, max_depth=6, random_state=2), two),
        ("random_forest_three", RandomForestClassifier(8, max_depth=4, random_state=2), three),
        ("gradient_boosting", GradientBoostingClassifier(n_estimators=30, random_state=3), two),
        ("gradient_boosting_three", GradientBoostingClassifier(n_estimators=6, random_state=3), three),
        ("logistic_three", LogisticRegression(), np.array(["low", "mid", "top"])[three]),
        ("linear_regression", LinearRegression(), real),
        ("forest_regression", RandomForestRegressor(8, max_depth=5, random_state=2), real),
        ("calibrated_sigmoid", CalibratedClassifierCV(RandomForestClassifier(4, max_depth=3, random_state=1), cv=2), two),
        ("calibrated_isotonic", CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2), two),
        ("ada_boost", AdaBoostClassifier(n_estimators=4, random_state=1), two),
        ("stacking", StackingClassifier([("l", LogisticRegression()), ("t", DecisionTreeClassifier(max_depth=3))]), two),
        ("perceptron", MLPClassifier((8,), max_iter=60, random_state=1), two),
        ("naive_bayes", GaussianNB(), two),
        ("sgd", SGDClassifier(loss="log_loss", random_state=1), two),
        ("linear_svc", LinearSVC(random_state=1), two),
        ("min_max", make_pipeline(MinMaxScaler(), LogisticRegression()), two),
        ("normalizer", make_pipeline(Normalizer(), LogisticRegression()), two),
        ("binarizer", make_pipeline(Binarizer(threshold=0.2), LogisticRegression()), two),
        ("pca", make_pipeline(PCA(3), LogisticRegression()), two),
        ("select_best", make_pipeline(SelectKBest(k=3), LogisticRegression()), two),
        ("polynomial", make_pipeline(PolynomialFeatures(2), LogisticRegression(max_iter=500)), two),
        ("power", make_pipeline(PowerTransformer(), LogisticRegression()), two),
    ]:
        yield name, to_onnx(model.fit(x, target), x[:1]), {"X": x[:SHOWN]}
    members = [("l", LogisticRegression()), ("f", RandomForestClassifier(4, max_depth=3, random_state=1))]
    vote = VotingClassifier(members, voting="soft", flatten_transform=False).fit(x, two)
    yield "voting", to_onnx(vote, x[:1]), {"X": x[:SHOWN]}
    doubles = x.astype(np.float64)
    forest = RandomForestClassifier(5, max_depth=4, random_state=4).fit(doubles, two)
    yield "forest_doubles", to_onnx(forest, doubles[:1]), {"X": doubles[:SHOWN]}


def boosted_cases():
    rng = np.random.default_rng(5)
    x, two, three, real = numbers(rng, 600, 6)
    x[::9, 0] = np.nan
    x[4::13, 2] = np.nan
    kind = [("input", OtherFloatTensorType([None, 6]))]
    shape = {"n_estimators": 12, "max_depth": 4}
    for name, model, target in [
        ("xgboost", xgboost.XGBClassifier(**shape), two),
        ("xgboost_three", xgboost.XGBClassifier(n_estimators=4, max_depth=3), three),
        ("xgboost_regression", xgboost.XGBRegressor(**shape), real),
    ]:
        yield name, onnxmltools.convert_xgboost(model.fit(x, target), initial_types=kind), {"input": x[:SHOWN]}
    for name, model, target, plain in [
        ("lightgbm", lightgbm.LGBMClassifier(verbose=-1, **shape), two, {}),
        ("lightgbm_plain", lightgbm.LGBMClassifier(verbose=-1, **shape), two, {"zipmap": False}),
        ("lightgbm_three", lightgbm.LGBMClassifier(verbose=-1, n_estimators=4, max_depth=3), three, {}),
        ("lightgbm_regression", lightgbm.LGBMRegressor(verbose=-1, **shape), real, {}),
    ]:
        exported = onnxmltools.convert_lightgbm(model.fit(x, target), initial_types=kind, **plain)
        yield name, exported, {"input": x[:SHOWN]}
    codes = np.column_stack([rng.integers(0, 5, 600), rng.normal(size=600)]).astype(np.float32)
    wanted = (np.isin(codes[:, 0], [1, 3]) ^ (codes[:, 1] > 0.7)).astype(int)
    booster = lightgbm.LGBMClassifier(verbose=-1, n_estimators=5, max_depth=3, min_data_per_group=1)
    booster.fit(codes, wanted, categorical_feature=[0])
    kind = [("input", OtherFloatTensorType([None, 2]))]
    yield "lightgbm_categories", onnxmltools.convert_lightgbm(booster, initial_types=kind), {"input": codes[:SHOWN]}


def cases():
    """(name, model, feeds) of every trained model."""
    yield from mixed_cases()
    yield from scikit_cases()
    yield from boosted_cases()
