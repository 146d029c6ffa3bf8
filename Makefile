# SPDX-License-Identifier: GPL-2.0
#
# Front door. Kbuild describes the modules; the work is done by scripts in tools/.

export KDIR MIRROR DESTDIR KERNEL TIME TARGET

.PHONY: help modules demo check matrix fuzz bench shell lint doc rust-analyzer install clean clean-cache

help:
	@echo "The Linux vDPA stack in Rust. What make does here:"
	@echo ""
	@echo "  demo           boot a VM, make a vDPA device, run a QEMU guest on it"
	@echo "  check          all tests, in VMs with the stock kernel and with one that has"
	@echo "                 sanitizers; KERNEL=stock or KERNEL=debug for one of them,"
	@echo "                 STACK=c, STACK=rust or, with the parts that are to be Rust,"
	@echo "                 STACK=vdpa+sim for one stack, ONLY=NAME for one test program"
	@echo "  matrix         a few tests on every combination of C and Rust modules"
	@echo "  fuzz           malformed netlink messages and misuse of vhost-vdpa on the debug"
	@echo "                 kernel, for TIME=300 s; TARGET=netlink or TARGET=vhost for one"
	@echo "  bench          what things cost, in instructions, C and Rust side by side"
	@echo "  shell          an interactive VM with the modules and the tools in it;"
	@echo "                 STACK=c with the C modules"
	@echo "  modules        compile the modules, for the stock Debian kernel"
	@echo "  install        install them on this machine (or under DESTDIR)"
	@echo "  lint           clippy and rustfmt, as the kernel has them"
	@echo "  doc            HTML documentation of the crates"
	@echo "  rust-analyzer  rust-project.json for editors"
	@echo "  clean          remove what was built here"
	@echo "  clean-cache    remove what was cached outside of this folder"
	@echo ""
	@echo "  KERNEL=debug   with modules, install, lint, shell, demo: the kernel with KASAN,"
	@echo "                 lockdep and KUnit, built here the first time (12 minutes)"
	@echo "  KDIR=FOLDER    with modules, install, lint, doc, rust-analyzer: for the"
	@echo "                 kernel whose tree is there, with this machine's tools"
	@echo "  RVDPA_CACHE=FOLDER  where the Debian root and the kernel tree are kept"
	@echo "                 (default: ~/.cache/rust-vdpa); 8 GiB"
	@echo "  MIRROR=URL     where Debian's packages come from"

modules:
	@tools/modules build
lint doc rust-analyzer install:
	@tools/modules $@
demo bench fuzz:
	@tools/$@
check:
	@tools/check $(STACK) $(if $(ONLY),--only $(ONLY))
matrix:
	@tools/check --matrix $(if $(ONLY),--only $(ONLY))
shell:
	@tools/shell $(STACK)
clean:
	rm -rf build rust-project.json
clean-cache:
	@tools/clean-cache
