"""What a walk reports, and that no graph makes it raise."""

import itertools
import random

import onnx
import pytest

from tests.corpus.models import CORPUS
from tests.corpus.models.building import graph, weights
from worker.inspection.batch_axis import Finding, Verdict, walk

_MUTATIONS = 12


def test_walk_when_a_node_mixes_then_names_it_and_the_remedy():
    model = graph(
        "(float[T,1,4] x) => (float[T,1,1,6] y) { y = LSTM<hidden_size=6>(x, w, r) }",
        w=weights(1, 24, 4),
        r=weights(1, 24, 6),
    )
    model.graph.node[0].name = "encoder/lstm"

    found = walk(model, {"x": 0})

    assert (found.verdict, found.node, found.op_type) == (Verdict.MIXES, "encoder/lstm", "LSTM")
    assert found.reason == "node 'encoder/lstm' (LSTM) runs over the batch axis as if it were time"
    assert "batch_first=True" in found.remedy


def test_walk_when_the_node_has_no_name_then_its_operator_and_output_name_it():
    found = walk(graph("(float[N,8] x) => (float[N,8] y) { y = Softmax<axis=0>(x) }"), {"x": 0})

    assert found.node == "Softmax -> y"


def test_walk_when_rows_lie_on_axis_1_then_says_where_the_outputs_have_them():
    model = graph(
        "(float[T,N,4] x) => (float[T,1,N,6] y, float[1,N,6] h) { y, h = GRU<hidden_size=6>(x, w, r) }",
        w=weights(1, 18, 4),
        r=weights(1, 18, 6),
    )

    assert walk(model, {"x": 1}).output_axes == {"y": 2, "h": 1}
    assert walk(model, {"x": 0}).verdict is Verdict.MIXES


def test_walk_when_several_nodes_are_unclear_then_the_one_that_overrules_the_trial_decides():
    model = graph(
        "(float[N,8] x) => (float[A] y) { a = com.microsoft.New(x) b = NonZero(x) c = Cast<to=1>(b) y = Add(a, c) }",
        microsoft=True,
    )

    found = walk(model, {"x": 0})

    assert (found.op_type, found.overrules_trial) == ("NonZero", True)


def test_walk_when_a_mixing_node_stands_in_a_subgraph_then_mixes():
    model = graph(
        """(float[N,8] x, bool c) => (float[N,8] y) {
            y = If(c) <then_branch = a () => (float[N,8] t) { t = Softmax<axis=0>(x) },
                       else_branch = b () => (float[N,8] e) { e = Identity(x) }> }"""
    )

    assert walk(model, {"x": 0}).op_type == "Softmax"


def test_walk_when_the_model_has_functions_then_follows_them():
    text = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[N,8] x) => (float[N,8] y) { y = local.f<axis: int = AXIS>(x) }
        <domain: "local", opset_import: ["" : 17]> f <axis> (a) => (b) { b = Softmax<axis: int = @axis>(a) }"""

    inside = onnx.parser.parse_model(text.replace("AXIS", "1"))
    over_rows = onnx.parser.parse_model(text.replace("AXIS", "0"))

    assert walk(inside, {"x": 0}).verdict is Verdict.INDEPENDENT
    assert walk(over_rows, {"x": 0}).verdict is Verdict.MIXES


def test_walk_when_the_file_states_wrong_inner_shapes_then_ignores_them():
    model = graph("(float[N,8] x) => (float[N,8] y) { a = Relu(x) y = Add(a, b) }", b=weights(8))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [8, 8, 8]))

    assert walk(model, {"x": 0}).verdict is Verdict.INDEPENDENT


def test_walk_when_an_initializer_is_an_input_too_then_it_is_shared_by_all_rows():
    model = graph("(float[N,8] x, float[8] b) => (float[N,8] y) { y = Add(x, b) }", b=weights(8))

    assert walk(model, {"x": 0}).verdict is Verdict.INDEPENDENT


@pytest.mark.parametrize("axis", [-1, 2, 10**9])
def test_walk_when_the_batch_axis_does_not_exist_then_cannot_tell(axis):
    model = graph("(float[N,8] x) => (float[N,8] y) { y = Relu(x) }")

    assert walk(model, {"x": axis}).verdict is Verdict.UNKNOWN


def test_walk_when_there_are_no_rows_then_no_output_is_independent():
    model = graph("(float[N,8] x) => (float[N,8] y) { y = Relu(x) }")

    assert walk(model, {}).verdict is Verdict.MIXES


def test_walk_when_a_broken_graph_holds_a_random_node_then_overrules_the_trial():
    model = graph("(float[N,8] x) => (float[N,8] y) { r = RandomNormalLike(x) y = Add(x, r) }")

    assert walk(model, {"x": 5}).overrules_trial


def test_walk_when_the_graph_is_deep_then_follows_it_to_the_end():
    model = graph("(float[N,8] x) => (float[N,8] y) { y = Softmax<axis=0>(last) }")
    names = ["x", *(f"t{index}" for index in range(3000)), "last"]
    chain = [onnx.helper.make_node("Relu", [one], [other]) for one, other in itertools.pairwise(names)]
    softmax = model.graph.node.pop()
    model.graph.node.extend([*chain, softmax])

    assert walk(model, {"x": 0}).op_type == "Softmax"


def test_walk_when_sizes_grow_without_end_then_cannot_tell_or_says_what_is_true():
    model = graph("(float[N,8] x) => (float[N,8] y) { y = Reshape(x, s) }")
    model.graph.node.insert(0, onnx.helper.make_node("Shape", ["x"], ["s0"]))
    for index in range(200):
        model.graph.node.insert(
            index + 1, onnx.helper.make_node("Mul", [f"s{index}"] * 2, [f"s{index + 1}" if index < 199 else "s"])
        )

    assert walk(model, {"x": 0}).verdict is Verdict.UNKNOWN


def test_walk_when_the_nodes_stand_in_the_wrong_order_then_cannot_tell():
    model = graph("(float[N,8] x) => (float[N,8] y) { a = Relu(x) y = Neg(a) }")
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)

    assert walk(model, {"x": 0}).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_walk_when_a_graph_is_damaged_then_never_raises(case):
    chance = random.Random(case.name)
    for _ in range(_MUTATIONS):
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        for _ in range(chance.randint(1, 3)):
            _damage(model, chance)

        assert isinstance(walk(model, case.batch_axes), Finding)


def _damage(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    kind = chance.randrange(6)
    if kind == 0 and node.input:
        del node.input[-1]
    elif kind == 1 and node.attribute:
        del node.attribute[chance.randrange(len(node.attribute))]
    elif kind == 2:
        node.op_type = chance.choice(["Reshape", "Gather", "LSTM", "Conv", "Concat", "Einsum", "Scan", "Loop", "If"])
    elif kind == 3:
        for attribute in node.attribute:
            attribute.i = chance.choice([-(2**63), -7, 0, 9, 2**62])
            attribute.ints[:] = [chance.choice([-9, 0, 5, 2**40]) for _ in attribute.ints]
    elif kind == 4 and node.input:
        node.input[chance.randrange(len(node.input))] = chance.choice(["", "x", "nowhere", *node.output])
    elif model.graph.initializer:
        tensor = chance.choice(model.graph.initializer)
        tensor.dims[:] = [chance.choice([-1, 0, 1, 2**40]) for _ in range(chance.randint(0, 4))]
