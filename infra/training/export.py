"""From a checkpoint to what serves: transformer.ort in 8 bits, vocabulary.txt, run.json.

    python infra/training/export.py .local/training/seed-1 --vocabulary .local/training/vocab.txt --out .local/training/export

Weights of matrices and embeddings become 8-bit integers (7 bits of range, so that sums of 16 bits never overflow on
processors without VNNI), one scale a column; activations are quantized as they come. The graph takes `ids` [1, n] and gives `logits` [1, 5].
`transformer.ort` is that graph in the format of ONNX Runtime, after all optimisations that depend on no processor: it is loaded where it
lies in memory. `python infra/training/export.py --ort transformer.onnx transformer.ort` makes that step alone.
"""

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from encoder import OUTPUTS, Encoder
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


def main():
    if sys.argv[1:2] == ["--ort"]:
        return in_place(*sys.argv[2:4])
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("checkpoints", type=Path, nargs="+", help="folders with model.pt; of several the weights are averaged")
    args.add_argument("--vocabulary", type=Path, required=True)
    args.add_argument("--out", type=Path, required=True)
    args = args.parse_args()
    states = [torch.load(folder / "model.pt") for folder in args.checkpoints]
    state = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    tokens, width = state["words.weight"].shape
    layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    model = Encoder(tokens, width, layers, width // 32, state["layers.0.up.weight"].shape[0], state["places.weight"].shape[0])
    model.load_state_dict(state)
    model.eval()
    args.out.mkdir(parents=True, exist_ok=True)
    ids = torch.randint(5, tokens, (1, 17))
    plain = args.out / "transformer-fp32.onnx"
    torch.onnx.export(model, (ids,), str(plain), input_names=["ids"], output_names=["logits"], opset_version=17, dynamo=False,
                      dynamic_axes={"ids": {1: "n"}})
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process
    ready = args.out / "transformer-ready.onnx"
    quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
    small = args.out / "transformer.onnx"
    quantize_dynamic(str(ready), str(small), op_types_to_quantize=["MatMul", "Gather", "Gemm"], per_channel=True, reduce_range=True,
                     weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True})
    ready.unlink()
    serving = args.out / "transformer.ort"
    in_place(small, serving)
    shutil.copy(args.vocabulary, args.out / "vocabulary.txt")
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for path in (plain, serving)]
    with torch.no_grad():
        expected = model(ids).numpy()
    full, eight = (session.run(None, {"ids": ids.numpy()})[0] for session in sessions)
    assert np.abs(full - expected).max() < 1e-3, (full, expected)
    runs = runs_of(args.checkpoints)
    (args.out / "run.json").write_text(json.dumps({"runs": runs, "outputs": OUTPUTS, "tokens": tokens, "layers": layers, "width": width,
        "bytes": serving.stat().st_size, "fp32_sha256": hashlib.sha256(plain.read_bytes()).hexdigest()}, indent=1) + "\n")
    print(f"{serving.stat().st_size / 1e6:.1f} MB; 8 bits against 32, largest difference of log-odds on random tokens {np.abs(eight - full).max():.3f}")


if __name__ == "__main__":
    main()
