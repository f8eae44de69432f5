"""Writes bfcl.jsonl: odd answers to hand-made questions, judged by the published checker.

    python3 -m venv v && v/bin/pip download --no-deps bfcl-eval==2026.3.23 && unzip -q bfcl_eval-*.whl
    PYTHONPATH=. python3 make_bfcl.py > bfcl.jsonl

The table of models, which would import every vendor's client, is replaced by an empty one.
"""

import json
import sys
import types

models = types.ModuleType("bfcl_eval.constants.model_config")
models.MODEL_CONFIG_MAPPING = {"plain": types.SimpleNamespace(underscore_to_dot=False)}
sys.modules["bfcl_eval.constants.model_config"] = models
from bfcl_eval.constants.enums import Language
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker


def function(name, required=None, **properties):
    read = lambda t: t if isinstance(t, dict) else {"type": t}
    properties = {k: read(v) for k, v in properties.items()}
    required = list(properties) if required is None else required
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": required}}


def array(inner, word="array"):
    return {"type": word, "items": {"type": inner}}


TRIP = function("trip.book", ["city", "days"], city="string", days="integer", price="float", hotel="boolean",
                tags=array("string"), box="tuple", rooms=array("dict"), guest="dict")
TRIP["parameters"]["properties"]["box"] = array("float", "tuple")
TRIP_RIGHT = {"city": ["New York", "NYC"], "days": [3], "price": [120.5, ""], "hotel": ["", True], "tags": [["sea", "Sun-set"], ""],
              "box": [[1.5, 2.0], ""], "rooms": [[{"beds": [2], "view": ["sea", ""]}], ""], "guest": [{"name": ["Ann"], "age": [30, ""]}, ""]}
base = {"city": "New York", "days": 3}
SIMPLE = [
    base, {"city": "new york.", "days": 3}, {"city": "N.Y.C", "days": 3}, {"city": "Boston", "days": 3}, {"city": "New York", "days": 3.0},
    {"city": "New York", "days": "3"}, {"city": "New York", "days": True}, {"city": "New York"}, {"days": 3}, {}, {**base, "fly": True},
    {**base, "price": 120.5}, {**base, "price": 120}, {**base, "price": "120.5"}, {**base, "price": ""}, {**base, "hotel": True},
    {**base, "hotel": "true"}, {**base, "hotel": 1}, {**base, "hotel": False}, {**base, "tags": ["sea", "sunset"]}, {**base, "tags": ["Sun set", "sea"]},
    {**base, "tags": ["sea"]}, {**base, "tags": []}, {**base, "tags": "sea"}, {**base, "tags": ["sea", 2]}, {**base, "box": [1.5, 2.0]},
    {**base, "box": [1.5, 2]}, {**base, "box": [1, 2]}, {**base, "rooms": [{"beds": 2}]}, {**base, "rooms": [{"beds": 2, "view": "SEA"}]},
    {**base, "rooms": [{"view": "sea"}]}, {**base, "rooms": [{"beds": 3}]}, {**base, "rooms": []}, {**base, "rooms": [{"beds": 2}, {"beds": 2}]},
    {**base, "rooms": [{"beds": 2, "sofa": 1}]}, {**base, "guest": {"name": "ann"}}, {**base, "guest": {"name": "Ann", "age": 31}},
    {**base, "guest": {"age": 30}}, {**base, "guest": {}}, {**base, "guest": "Ann"}, {**base, "guest": {"name": "Ann", "pet": "cat"}},
    {"city": None, "days": 3}, {"city": ["New York"], "days": 3}, {"city": 7, "days": 3},
]
NAMES = [{"trip.book": base}, {"trip_book": base}, {"Trip.book": base}, {"book": base}]
LOOSE = function("plot", ["points"], points=array("float"), title="string", width="float")
LOOSE_RIGHT = {"points": [[1, 2.5], "points_list"], "title": ["It's 'A'"], "width": [4]}
LOOSE_ANSWERS = [{"points": [1, 2.5], "title": 'its "a"', "width": 4}, {"points": [1.0, 2.5], "title": "It's 'A'", "width": 4.0},
                 {"points": "points_list", "title": "It's 'A'", "width": 4}, {"points": [1, 2.5], "width": 4}, {"points": [1, 2.5], "title": "It's 'A'"},
                 {"points": [[1, 2.5]], "title": "It's 'A'", "width": 4}, {"points": [1, 2.5], "title": 'It"s "A"', "width": 4}]
PAIR = [function("add", a="integer", b="integer"), function("say", text="string")]
PAIR_RIGHT = [{"add": {"a": [1], "b": [2]}}, {"say": {"text": ["hello"]}}, {"add": {"a": [3], "b": [4]}}]
add = lambda a, b: {"add": {"a": a, "b": b}}
say = {"say": {"text": "Hello"}}
PARALLEL = [[add(1, 2), say, add(3, 4)], [add(3, 4), add(1, 2), say], [say, add(1, 2)], [say, add(1, 2), add(1, 2)], [say, add(1, 2), add(3, 4), say],
            [say, add(1, 2), add(4, 3)], [{"shout": {"text": "hello"}}, add(1, 2), add(3, 4)]]
MULTIPLE = [[say], [add(1, 2)], [say, say], [{"say": {}}], [{"say": {"text": "hello", "loud": True}}]]
JAVA = function("store.put", key="String", n="integer", big="long", f="float", d="double", on="boolean", c="char", list=array("integer", "ArrayList"),
                arr=array("String", "Array"), map="HashMap", any="any")
JAVA_RIGHT = {"key": ["k1"], "n": [5], "big": [7], "f": [1.5], "d": [2.5], "on": [True], "c": ["'x'"], "list": [[1, 2]], "arr": [['"a"', '"b"']],
              "map": [{"a": [1], "b": ["x"]}], "any": ["thing"]}
java = {"key": "k1", "n": "5", "big": "7L", "f": "1.5f", "d": "2.5", "on": "true", "c": "'x'", "list": "new ArrayList<Integer>(Arrays.asList(1, 2))",
        "arr": 'new String[]{"a", "b"}', "map": 'new HashMap<String, Object>() {{ put("a", 1); put("b", "x"); }}', "any": "thing"}
JAVA_ODD = [{}, {"n": 5}, {"n": "5.0"}, {"n": "five"}, {"big": "7"}, {"big": "7l"}, {"f": "1.5"}, {"f": "15e-1F"}, {"d": "2.5f"}, {"on": "True"}, {"on": "false"},
            {"c": "x"}, {"list": "new ArrayList<>() {{ add(1); add(2); }}"}, {"list": "Arrays.asList(1, 2)"}, {"list": "new ArrayList<>(Arrays.asList(2, 1))"},
            {"list": "new ArrayList<>()"}, {"arr": 'new String[] { "a" , "b" }'}, {"arr": "new String[]{}"}, {"arr": '{"a", "b"}'},
            {"map": 'new HashMap<>() {{ put("a", 1L); put("b", "x"); }}'}, {"map": 'new HashMap<>() {{ put("a", 1); }}'}, {"map": "new HashMap<>()"},
            {"map": 'Map.of("a", 1)'}, {"any": "Thing"}, {"any": "other"}, {"key": ""}]
SCRIPT = function("draw", ["text"], text="String", n="integer", f="float", big="Bigint", on="Boolean", list=array("integer"), grid={"type": "array", "items": {"type": "array"}},
                  names=array("String"), opts="dict", any="any")
SCRIPT_RIGHT = {"text": ["hi"], "n": [5, ""], "f": [1.5, ""], "big": [9, ""], "on": [True, ""], "list": [[1, 2], ""], "names": [["a", "b"]],
                "opts": [{"w": [3], "mode": ["fast", ""], "xs": [[1, 2], ""]}, ""], "any": ["fn", ""], "grid": [[[1, 2], [3]], ""]}
script = {"text": "'hi'", "names": "['a', \"b\"]"}
SCRIPT_ODD = [{}, {"text": "hi"}, {"text": '"HI"'}, {"text": "'hi"}, {"n": "5"}, {"n": "5.0"}, {"n": 5}, {"f": "1.5"}, {"f": "15e-1"}, {"big": "9n"}, {"big": "9"},
              {"on": "true"}, {"on": "True"}, {"list": "[1, 2]"}, {"list": "new Array(1, 2)"}, {"list": "[1,'2']"}, {"list": "[]"}, {"list": "1, 2"},
              {"names": "[a, b]"}, {"names": "['b', 'a']"}, {"opts": "{w: 3}"}, {"opts": "{'w': 3, \"mode\": 'fast'}"}, {"opts": "{w: 3, xs: [1, 2]}"}, {"opts": "{}"},
              {"opts": "{w: '3'}"}, {"opts": "{w: 3, z: 1}"}, {"opts": "w: 3"}, {"any": "fn"}, {"any": "'fn'"}, {"grid": "[[1, 2], [3]]"}]


ROWS = {}


def write(category, language, functions, truth, calls):
    copy = lambda v: json.loads(json.dumps(v))
    try:
        verdict = ast_checker(copy(functions), copy(calls), copy(truth), Language[language.upper()], category, "plain")
    except Exception as e:  # A crash gives no point.
        verdict = {"valid": False, "error_type": "crash:" + type(e).__name__}
    kind = "" if verdict["valid"] else verdict["error_type"]
    about = {"category": category, "language": language, "function": functions, "ground_truth": truth}
    row = ROWS.setdefault(json.dumps(about), {**about, "answers": []})
    row["answers"].append({"calls": calls, "valid": verdict["valid"], "error_type": kind})


for arguments in SIMPLE:
    write("simple_python", "python", [TRIP], [{"trip.book": TRIP_RIGHT}], [{"trip.book": arguments}])
for call in [[c] for c in NAMES] + [[], [NAMES[0], NAMES[0]]]:
    write("simple_python", "python", [TRIP], [{"trip.book": TRIP_RIGHT}], call)
for arguments in LOOSE_ANSWERS:
    write("simple_python", "python", [LOOSE], [{"plot": LOOSE_RIGHT}], [{"plot": arguments}])
for calls in PARALLEL:
    write("parallel_multiple", "python", PAIR, PAIR_RIGHT, calls)
for calls in MULTIPLE:
    write("multiple", "python", PAIR, PAIR_RIGHT[1:2], calls)
for odd in JAVA_ODD:
    write("simple_java", "java", [JAVA], [{"store.put": JAVA_RIGHT}], [{"store.put": {**java, **odd}}])
for odd in SCRIPT_ODD:
    write("simple_javascript", "javascript", [SCRIPT], [{"draw": SCRIPT_RIGHT}], [{"draw": {**script, **odd}}])
for row in ROWS.values():
    print(json.dumps(row, separators=(",", ":")))
