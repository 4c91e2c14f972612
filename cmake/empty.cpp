// Carries the precompiled LibTorch header that all programs share.
