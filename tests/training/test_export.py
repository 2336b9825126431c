import onnx

from training.export import name_batch_axis


def test_name_batch_axis_when_axes_have_names_of_their_own_then_they_get_the_one():
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, 3])
        for name, batch in (("a", "unk__1"), ("b", None), ("c", "unk__2"))
    ]
    proto = onnx.helper.make_model(onnx.helper.make_graph([], "g", values[:2], values[2:]))

    name_batch_axis(proto)

    shapes = [value.type.tensor_type.shape.dim for value in (*proto.graph.input, *proto.graph.output)]
    assert [(dims[0].dim_param, dims[1].dim_value) for dims in shapes] == [("N", 3)] * 3
