"""Small modules of the standard library's vocabulary: no kedge types, no policy, no third party."""
