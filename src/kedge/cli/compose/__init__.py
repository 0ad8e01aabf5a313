"""The verbs of ``kedge compose``, one module each; what they do is in `kedge.compose`."""
