"""From a transformer that serves back to a checkpoint to go on from: weights of 8 bits as numbers again.

    python infra/training/from_ort.py shared/scoring/models/minilm-cascade/transformer.ort .local/training/start.pt

The checkpoints that the shipped model was made of are not kept; what 8 bits lost of them is lost.
"""

import sys

import numpy as np
import torch
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

from encoder import Encoder

KINDS = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64}


def graphs_of(graph):
    """A graph and those in its branches: with a first look, most layers are in one."""
    yield graph
    for node in (graph.Nodes(i) for i in range(graph.NodesLength())):
        for branch in (node.Attributes(i).G() for i in range(node.AttributesLength())):
            if branch:
                yield from graphs_of(branch)


def main(source, target):
    graphs = list(graphs_of(InferenceSession.GetRootAsInferenceSession(open(source, "rb").read(), 0).Model().Graph()))
    constants, nodes = {}, []
    for graph in graphs:
        for tensor in (graph.Initializers(i) for i in range(graph.InitializersLength())):
            shape = [tensor.Dims(i) for i in range(tensor.DimsLength())]
            constants[tensor.Name().decode()] = np.frombuffer(tensor.RawDataAsNumpy().tobytes(), KINDS[tensor.DataType()]).reshape(shape)
        nodes += [([node.Inputs(i).decode() for i in range(node.InputsLength())], node.Outputs(0).decode()) for node in (graph.Nodes(i) for i in range(graph.NodesLength()))]
    state = {}
    for inputs, output in nodes:
        quantized = [name for name in inputs if name.endswith("_quantized") and name in constants and constants[name].dtype == np.int8]
        if not quantized:
            continue
        # A product is followed by its bias, whose name says whose weights these are.
        bias = next(name for near in [inputs, *(more for more, _ in nodes if output in more)] for name in near if name.endswith(".bias"))
        base = quantized[0].removesuffix("_quantized")
        weight = (constants[quantized[0]].astype(np.float32) - constants[base + "_zero_point"].astype(np.float32)) * constants[base + "_scale"]
        state[bias.removesuffix("bias") + "weight"] = torch.tensor(weight.T.copy())
    words = constants["words.weight_quantized"].astype(np.float32) - float(constants["words.weight_zero_point"])
    state["words.weight"] = torch.tensor(words * float(constants["words.weight_scale"]))
    for name, value in constants.items():
        if value.dtype == np.float32 and name.split(".")[0] in ("layers", "norm", "places", "head") and not name.endswith("_scale"):
            state[name] = torch.tensor(value.copy())
    # A first look is fitted anew to what comes of these weights.
    state = {name: value for name, value in state.items() if not name.startswith("early.")}
    Encoder.of(state)
    torch.save(state, target)


if __name__ == "__main__":
    main(*sys.argv[1:3])
