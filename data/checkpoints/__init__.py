"""The trained models that come with the package, a folder each; imported as `snn_codec.pretrained`."""
