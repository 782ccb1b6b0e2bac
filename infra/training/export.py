"""From a checkpoint to what serves: transformer.ort in 8 bits, vocabulary.txt, run.json.

    python infra/training/export.py .local/training/seed-1 --vocabulary .local/training/vocab.txt --out .local/training/export

Weights of matrices and embeddings become 8-bit integers (7 bits of range, so that sums of 16 bits never overflow on
processors without VNNI), one scale a column; activations are quantized as they come. The graph takes `ids` [1, n] and gives `logits` [1, 5]:
those that the first layers guess where these are low enough, and the whole network's otherwise (early.py). The whole network is one branch of an `If`.
`transformer.ort` is that graph in the format of ONNX Runtime, after all optimisations that depend on no processor: it is loaded where it
lies in memory. `python infra/training/export.py --ort transformer.onnx transformer.ort` makes that step alone.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from encoder import OUTPUTS, Early, Encoder
from parts import runs_of


def in_place(graph, out):
    """Writes an ONNX graph in the format that ONNX Runtime can use without copying it. Its bytes differ in their order from run to run; what it
    computes does not."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


class First(Encoder):
    """The part of a network that every text goes through: what its first layers make of it, and what they guess."""

    def forward(self, ids):
        x = self.first(ids)
        return x, self.early(x)


class Rest(Encoder):
    """The part for texts that are not clear by then."""

    def forward(self, x):
        return self.rest(x)


def graph_of(model, given, names, file):
    """Writes one part of a network as an ONNX graph."""
    torch.onnx.export(model, (given,), str(file), input_names=names[:1], output_names=names[1:], opset_version=17, dynamo=False, dynamic_axes={names[0]: {1: "n"}})


def in_8_bits(plain, small):
    """Writes an ONNX graph with weights of 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process
    ready = small.with_suffix(".ready")
    quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
    quantize_dynamic(str(ready), str(small), op_types_to_quantize=["MatMul", "Gather", "Gemm"], per_channel=True, reduce_range=True,
                     weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True})
    ready.unlink()


def joined(first, rest, bound, file):
    """Writes the graph that runs `first` and, where its guess of the first output is `bound` or more, `rest`."""
    first, rest = onnx.load(str(first)), onnx.load(str(rest))
    graph = first.graph
    # Names of the two must not meet; those of weights stay, since from_ort.py knows them.
    taken = {name for node in graph.node for name in node.output} | {constant.name for constant in graph.initializer}
    own = {name for node in rest.graph.node for name in node.output} | {constant.name for constant in rest.graph.initializer}
    new = {name: f"rest/{name}" for name in own & taken}
    for node in rest.graph.node:
        node.name = f"rest/{node.name}"
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for constant in rest.graph.initializer:
        constant.name = new.get(constant.name, constant.name)
    told = helper.make_tensor_value_info("told", TensorProto.FLOAT, [1, len(OUTPUTS)])
    whole = helper.make_graph(rest.graph.node, "rest", [], [told], rest.graph.initializer)
    guessed = helper.make_tensor_value_info("guessed", TensorProto.FLOAT, [1, len(OUTPUTS)])
    stands = helper.make_graph([helper.make_node("Identity", ["guess"], ["guessed"])], "stands", [], [guessed])
    graph.initializer.extend([helper.make_tensor("bound", TensorProto.FLOAT, [1], [bound]), helper.make_tensor("harm", TensorProto.INT64, [1], [0])])
    graph.node.extend([
        helper.make_node("Gather", ["guess", "harm"], ["guess_of_harm"], axis=1),
        helper.make_node("ReduceMax", ["guess_of_harm"], ["highest"], keepdims=0),
        helper.make_node("Squeeze", ["bound"], ["limit"]),
        helper.make_node("Less", ["highest", "limit"], ["low"]),
        helper.make_node("If", ["low"], ["logits"], then_branch=stands, else_branch=whole),
    ])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(OUTPUTS)]))
    known = {(opset.domain, opset.version) for opset in first.opset_import}
    first.opset_import.extend(opset for opset in rest.opset_import if (opset.domain, opset.version) not in known)
    onnx.save(first, str(file))


def in_two_parts(state, ids, plain, small):
    """Writes the graph of a network with a first look, in 32 bits and in 8."""
    first, rest = Encoder.of(state).eval(), Encoder.of(state).eval()
    first.__class__, rest.__class__ = First, Rest
    with torch.no_grad():
        seen, _ = first(ids)
    with tempfile.TemporaryDirectory() as folder:
        file = lambda name: Path(folder) / f"{name}.onnx"
        graph_of(first, ids, ["ids", "seen", "guess"], file("first"))
        graph_of(rest, seen, ["seen", "told"], file("rest"))
        bound = float(state["early.stands_below"])
        joined(file("first"), file("rest"), bound, plain)
        for part in ("first", "rest"):
            in_8_bits(file(part), file(f"{part}-8"))
        joined(file("first-8"), file("rest-8"), bound, small)


def main():
    if sys.argv[1:2] == ["--ort"]:
        return in_place(*sys.argv[2:4])
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("checkpoints", type=Path, nargs="+", help="folders with model.pt; of several the weights are averaged, without a first look")
    args.add_argument("--vocabulary", type=Path, required=True)
    args.add_argument("--out", type=Path, required=True)
    args = args.parse_args()
    states = [torch.load(folder / "model.pt") for folder in args.checkpoints]
    state = states[0]
    if len(states) > 1:
        state = {name: torch.stack([state[name] for state in states]).mean(0) for name in state if not name.startswith("early.")}
    args.out.mkdir(parents=True, exist_ok=True)
    model = Encoder.of(state).eval()
    tokens, width = state["words.weight"].shape
    plain, small, serving = (args.out / name for name in ("transformer-fp32.onnx", "transformer.onnx", "transformer.ort"))
    ids = torch.randint(5, tokens, (1, 17))
    if model.early is None:
        graph_of(model, ids, ["ids", "logits"], plain)
        in_8_bits(plain, small)
    else:
        in_two_parts(state, ids, plain, small)
    in_place(small, serving)
    shutil.copy(args.vocabulary, args.out / "vocabulary.txt")
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in (plain, serving)]
    early, most = 0, 0.0
    for length in range(3, 63):
        ids = torch.randint(5, tokens, (1, length))
        with torch.no_grad():
            guess = model.early(model.first(ids)) if model.early else None
            stands = guess is not None and bool(guess[0, 0] < model.early.stands_below)
            expected = (guess if stands else model(ids)).numpy()
        full, eight = (session.run(None, {"ids": ids.numpy()})[0] for session in sessions)
        assert np.abs(full - expected).max() < 1e-3, (full, expected)
        early, most = early + stands, max(most, np.abs(eight - full).max())
    runs = runs_of(args.checkpoints)
    layers = len(model.layers)
    told = {"early_after": Early.AFTER, "stands_below": float(model.early.stands_below)} if model.early else {}
    (args.out / "run.json").write_text(json.dumps({"runs": runs, "outputs": OUTPUTS, "tokens": tokens, "layers": layers, **told, "width": width,
        "bytes": serving.stat().st_size, "fp32_sha256": hashlib.sha256(plain.read_bytes()).hexdigest()}, indent=1) + "\n")
    print(f"{serving.stat().st_size / 1e6:.1f} MB; of 60 texts of random tokens {early} need the first layers alone; 8 bits against 32, largest difference of log-odds {most:.3f}")


if __name__ == "__main__":
    main()
