"""PyTorch, as `work.py` asks it. Runs in the interpreter that has PyTorch; it needs no NumPy."""

from __future__ import annotations

import hashlib
import importlib
import struct
import time
from typing import Any, Dict, List, Optional

from . import known


class Torch:
    """One PyTorch on one device: "cuda" (the only visible GPU) or "cpu"."""

    def __init__(self, on: str) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.device = "cuda:0" if on == "cuda" else "cpu"
        self.on_gpu = on == "cuda"
        self._exact()

    def _exact(self) -> None:
        """FP32 means FP32: no TF32 and no shortened sums unless a problem asks for them."""
        self.torch.backends.cuda.matmul.allow_tf32 = False
        self.torch.backends.cudnn.allow_tf32 = False
        self.torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        self.torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False

    def loaded(self) -> Dict[str, Any]:
        """Return which PyTorch this is, what it was built for, and what it says of the GPU."""
        torch = self.torch
        cudnn = torch.backends.cudnn
        values = {
            "path": torch.__file__,
            "version": str(torch.__version__),
            "cuda_version": torch.version.cuda,
            "cudnn_number": cudnn.version() if cudnn.is_available() else None,
            "available": bool(torch.cuda.is_available()),
            "device": self.device,
            "architectures": list(torch.cuda.get_arch_list()),
        }
        if self.on_gpu:
            torch.zeros(1, device=self.device)  # makes the context, so that all is loaded
            values["device_name"] = torch.cuda.get_device_name(0)
            values["capability"] = "%d.%d" % torch.cuda.get_device_capability(0)
        return values

    def types(self) -> List[str]:
        """Return the types that this device computes matmuls in."""
        found = ["fp64", "fp32", "bf16"]
        if self.on_gpu:
            found.append("fp16")
            if self.torch.cuda.get_device_capability(0) >= (8, 0):
                found.append("tf32")
            else:
                found.remove("bf16")  # emulated before Ampere
        return found

    def _dtype(self, kind: str) -> Any:  # noqa: ANN401
        names = {"fp64": "float64", "fp16": "float16", "bf16": "bfloat16"}
        return getattr(self.torch, names.get(kind, "float32"))

    def matmul(self, left: known.Matrix, right: known.Matrix, kind: str) -> List[float]:
        """Return the product, row after row."""
        torch, dtype = self.torch, self._dtype(kind)
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        try:
            a = torch.tensor(left, dtype=torch.float64).to(self.device, dtype)
            b = torch.tensor(right, dtype=torch.float64).to(self.device, dtype)
            product = torch.matmul(a, b)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False
        answer: List[float] = product.to("cpu", torch.float64).flatten().tolist()
        return answer

    def layouts(self) -> List[str]:
        """Return the memory layouts that convolutions are tried in."""
        return ["nchw", "nhwc"]

    def convolution(self, problem: known.Convolution, kind: str, layout: str) -> List[float]:
        """Return the 3×3 convolution with a border of 1, as [n][k][y][x], flat."""
        torch, dtype = self.torch, self._dtype(kind)
        order = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        x = torch.tensor(problem.images, dtype=torch.float64).to(self.device, dtype)
        w = torch.tensor(problem.filters, dtype=torch.float64).to(self.device, dtype)
        y = torch.nn.functional.conv2d(
            x.contiguous(memory_format=order), w.contiguous(memory_format=order), padding=1
        )
        answer: List[float] = y.contiguous().to("cpu", torch.float64).flatten().tolist()
        return answer

    def regression(self, problem: known.Regression) -> List[float]:
        """Return the weights after gradient descent."""
        torch = self.torch
        x = torch.tensor(problem.points, dtype=torch.float32, device=self.device)
        y = torch.tensor(problem.targets, dtype=torch.float32, device=self.device)
        w = torch.zeros(x.shape[1], dtype=torch.float32, device=self.device, requires_grad=True)
        for _ in range(problem.steps):
            loss = ((torch.mv(x, w) - y) ** 2).mean()
            (slope,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= problem.rate * slope
        answer: List[float] = w.detach().to("cpu", torch.float64).tolist()
        return answer

    def network(self, side: int) -> Any:  # noqa: ANN401
        """Return the small classifier, with the same starting weights everywhere."""
        torch = self.torch
        nn = torch.nn
        inner = 16 * (side // 4) ** 2
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(inner, 4),
        )
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                    continue
                fan_in = parameter[0].numel()
                start = known.weights(name, parameter.numel(), fan_in)
                parameter.copy_(torch.tensor(start).reshape(parameter.shape))
        return net.to(self.device)

    def classify(self, pictures: known.Pictures, passes: int) -> Dict[str, Any]:
        """Train the classifier; return its accuracy on new pictures, its loss and its weights."""
        torch = self.torch
        net = self.network(pictures.side)
        shape = (-1, 1, pictures.side, pictures.side)
        x = torch.tensor(pictures.train, device=self.device).reshape(shape)
        y = torch.tensor(pictures.train_classes, device=self.device)
        judge_loss = torch.nn.CrossEntropyLoss()
        steps = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        loss = None
        begun = time.monotonic()
        for _ in range(passes):
            for first in range(0, len(x), 64):
                steps.zero_grad(set_to_none=True)
                loss = judge_loss(net(x[first : first + 64]), y[first : first + 64])
                loss.backward()
                steps.step()
        final = float(loss) if loss is not None else float("nan")
        took = time.monotonic() - begun
        with torch.no_grad():
            seen = net(torch.tensor(pictures.test, device=self.device).reshape(shape))
            right = (seen.argmax(1).to("cpu") == torch.tensor(pictures.test_classes)).sum()
        numbers: List[float] = []
        for parameter in net.parameters():
            numbers += parameter.detach().to("cpu").flatten().tolist()
        return {
            "accuracy": float(right) / len(pictures.test),
            "final_loss": final,
            "images_per_s": passes * len(x) / took,
            "weights": numbers,
        }

    def digest(self, pictures: known.Pictures) -> str:
        """Return the sha256 of a short training and a matmul, with deterministic algorithms."""
        torch = self.torch
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        try:
            weights = self.classify(pictures, 1)["weights"]
            values = known.weights("digest", 2 * 512 * 512, 512)
            both = torch.tensor(values, device=self.device).reshape(2, 512, 512)
            weights += torch.matmul(both[0], both[1]).to("cpu").flatten().tolist()
        finally:
            torch.use_deterministic_algorithms(False)
        return hashlib.sha256(struct.pack("<%df" % len(weights), *weights)).hexdigest()

    def rate(self, seconds: float) -> Dict[str, Any]:
        """Return the speed of large matmuls on random data: median of several timed groups."""
        torch = self.torch
        kind = "bf16" if "bf16" in self.types() else "fp16"
        size = 8192
        if not self.on_gpu:
            kind, size = "fp32", 384
        source = torch.Generator(device="cpu").manual_seed(1)
        both = torch.randn(2, size, size, generator=source).to(self.device, self._dtype(kind))
        count, samples = 1, self._timed(both, 1, 1)
        while samples[0] < 0.02 and count < 4096:
            count *= 2
            samples = self._timed(both, count, 1)
        self._timed(both, count, max(1, int(min(seconds, 1.0) / samples[0])))  # warm
        samples = self._timed(both, count, max(5, int(seconds / samples[0])))
        rates = sorted(2.0 * size**3 * count / s / 1e12 for s in samples)
        return {
            "matmul_type": kind,
            "matmul_n": size,
            "matmul_tflops": rates[len(rates) // 2],
            "slowest_tflops": rates[0],
            "samples": len(rates),
        }

    def _timed(self, both: Any, count: int, groups: int) -> List[float]:  # noqa: ANN401
        """Return the seconds that each group of matmuls took."""
        torch = self.torch
        out: Optional[Any] = None
        found = []
        for _ in range(groups):
            begun = time.perf_counter()
            for _ in range(count):
                out = torch.matmul(both[0], both[1], out=out)
            if self.on_gpu:
                torch.cuda.synchronize()
            found.append(time.perf_counter() - begun)
        return found
