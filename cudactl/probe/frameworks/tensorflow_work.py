"""TensorFlow, as `work.py` asks it. Runs in the interpreter that has TensorFlow."""

from __future__ import annotations

import hashlib
import importlib
import struct
import time
from typing import Any, Dict, List

from . import known


class TensorFlow:
    """One TensorFlow on one device: "cuda" (the only visible GPU) or "cpu"."""

    def __init__(self, on: str) -> None:
        self.tf: Any = importlib.import_module("tensorflow")
        self.on_gpu = on == "cuda"
        self.device = "/GPU:0" if self.on_gpu else "/CPU:0"
        # FP32 means FP32 unless a problem asks for TF32.
        self.tf.config.experimental.enable_tensor_float_32_execution(False)

    def loaded(self) -> Dict[str, Any]:
        """Return which TensorFlow this is, what it was built for, and what it sees."""
        tf = self.tf
        build = dict(tf.sysconfig.get_build_info())
        gpus = tf.config.list_physical_devices("GPU")
        values = {
            "path": tf.__file__,
            "version": str(tf.__version__),
            "cuda_version": build.get("cuda_version"),
            "cudnn_version": build.get("cudnn_version"),
            "architectures": list(build.get("cuda_compute_capabilities") or []),
            "available": bool(gpus),
            "device": self.device,
        }
        if self.on_gpu and gpus:
            details = tf.config.experimental.get_device_details(gpus[0])
            values["device_name"] = details.get("device_name")
            capability = details.get("compute_capability")
            values["capability"] = "%d.%d" % tuple(capability) if capability else None
            with tf.device(self.device):
                tf.zeros([1])  # makes the context, so that all is loaded
        return values

    def types(self) -> List[str]:
        """Return the types that this device computes matmuls in."""
        return ["fp64", "fp32", "bf16", *(["tf32", "fp16"] if self.on_gpu else [])]

    def _dtype(self, kind: str) -> Any:  # noqa: ANN401
        names = {"fp64": "float64", "fp16": "float16", "bf16": "bfloat16"}
        return getattr(self.tf, names.get(kind, "float32"))

    def _tensor(self, numbers: Any, dtype: Any) -> Any:  # noqa: ANN401
        return self.tf.cast(self.tf.constant(numbers, dtype=self.tf.float64), dtype)

    def _flat(self, tensor: Any) -> List[float]:  # noqa: ANN401
        flat = self.tf.reshape(self.tf.cast(tensor, self.tf.float64), [-1])
        answer: List[float] = flat.numpy().tolist()
        return answer

    def matmul(self, left: known.Matrix, right: known.Matrix, kind: str) -> List[float]:
        """Return the product, row after row."""
        tf, dtype = self.tf, self._dtype(kind)
        tf.config.experimental.enable_tensor_float_32_execution(kind == "tf32")
        try:
            with tf.device(self.device):
                product = tf.linalg.matmul(self._tensor(left, dtype), self._tensor(right, dtype))
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(False)
        return self._flat(product)

    def layouts(self) -> List[str]:
        """Return the memory layouts that convolutions are tried in; on CPUs there is only NHWC."""
        return ["nhwc", *(["nchw"] if self.on_gpu else [])]

    def convolution(self, problem: known.Convolution, kind: str, layout: str) -> List[float]:
        """Return the 3×3 convolution with a border of 1, as [n][k][y][x], flat."""
        tf, dtype = self.tf, self._dtype(kind)
        with tf.device(self.device):
            x = self._tensor(problem.images, dtype)
            # TensorFlow wants filters as [y][x][c][k].
            w = tf.transpose(self._tensor(problem.filters, dtype), [2, 3, 1, 0])
            if layout == "nhwc":
                x = tf.transpose(x, [0, 2, 3, 1])
            y = tf.nn.conv2d(x, w, strides=1, padding="SAME", data_format=layout.upper())
            if layout == "nhwc":
                y = tf.transpose(y, [0, 3, 1, 2])
        return self._flat(y)

    def regression(self, problem: known.Regression) -> List[float]:
        """Return the weights after gradient descent."""
        tf = self.tf
        with tf.device(self.device):
            x = self._tensor(problem.points, tf.float32)
            y = self._tensor([[t] for t in problem.targets], tf.float32)
            w = self._tensor([[0.0]] * len(problem.solution), tf.float32)
            back = tf.transpose(x, [1, 0])
            rate = 2.0 * problem.rate / len(problem.targets)
            for _ in range(problem.steps):
                w = w - rate * tf.linalg.matmul(back, tf.linalg.matmul(x, w) - y)
        return self._flat(w)

    def classify(self, pictures: known.Pictures, passes: int) -> Dict[str, Any]:
        """Train the classifier; return its accuracy on new pictures, its loss and its weights."""
        tf = self.tf
        keras = tf.keras
        keras.utils.set_random_seed(1)
        side = pictures.side
        with tf.device(self.device):
            net = keras.Sequential(
                [
                    keras.layers.Input((side, side, 1)),
                    keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
                    keras.layers.AveragePooling2D(2),
                    keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
                    keras.layers.AveragePooling2D(2),
                    keras.layers.Flatten(),
                    keras.layers.Dense(4),
                ]
            )
            net.compile(
                optimizer=keras.optimizers.SGD(learning_rate=0.05, momentum=0.9),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
            )
            x = tf.reshape(self._tensor(pictures.train, tf.float32), [-1, side, side, 1])
            y = tf.constant(pictures.train_classes)
            begun = time.monotonic()
            history = net.fit(x, y, epochs=passes, batch_size=64, shuffle=False, verbose=0)
            took = time.monotonic() - begun
            x = tf.reshape(self._tensor(pictures.test, tf.float32), [-1, side, side, 1])
            _, accuracy = net.evaluate(x, tf.constant(pictures.test_classes), verbose=0)
        numbers: List[float] = []
        for weights in net.get_weights():
            numbers += [float(v) for v in weights.flatten().tolist()]
        return {
            "accuracy": float(accuracy),
            "final_loss": float(history.history["loss"][-1]),
            "images_per_s": passes * len(pictures.train) / took,
            "weights": numbers,
        }

    def digest(self, pictures: known.Pictures) -> str:
        """Return the sha256 of a short training, with deterministic operations."""
        # It cannot be turned off again: what comes later is slower, never different.
        self.tf.config.experimental.enable_op_determinism()
        weights = self.classify(pictures, 1)["weights"]
        return hashlib.sha256(struct.pack("<%df" % len(weights), *weights)).hexdigest()

    def rate(self, seconds: float) -> Dict[str, Any]:
        """Return the speed of large matmuls on random data: median of several timed groups."""
        tf = self.tf
        kind, size = ("bf16", 8192) if self.on_gpu else ("fp32", 256)
        with tf.device(self.device):
            source = tf.random.stateless_normal([2, size, size], seed=[1, 2])
            left, right = (tf.cast(source[i], self._dtype(kind)) for i in (0, 1))
            self._flat(tf.linalg.matmul(left, right)[0, :1])  # loads and warms
            took: List[float] = []
            stop = time.perf_counter() + seconds
            while len(took) < 5 or time.perf_counter() < stop:
                begun = time.perf_counter()
                for _ in range(8):
                    product = tf.linalg.matmul(left, right)
                self._flat(product[0, :1])  # a value that was read has been computed
                took.append((time.perf_counter() - begun) / 8)
        rates = sorted(2.0 * size**3 / s / 1e12 for s in took)
        return {
            "matmul_type": kind,
            "matmul_n": size,
            "matmul_tflops": rates[len(rates) // 2],
            "slowest_tflops": rates[0],
            "samples": len(rates),
        }
