from ranvier.compat.hxtorch.spiking import functional
