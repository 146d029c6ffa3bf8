# SPDX-License-Identifier: GPL-2.0
#
# Kbuild fragment for out-of-tree modules made of several Rust crates.
# Included from Kbuild; uses the kernel's own rule for `%.o: %.rs`.

# The macros for static branches and WARN include files of the kernel tree that
# end in `.rs`, so they become prerequisites here, and Kbuild's `%.rs: %.rs.S`
# rule would then regenerate them *inside the kernel tree*. An explicit rule with
# an empty recipe keeps Make away from them.
kernel-asm := $(wildcard $(abspath $(objtree))/rust/kernel/generated_arch_*_asm.rs)
$(kernel-asm): ;

# Where generated sources are, for `include!()`: not beside the sources when the
# output folder is another one (MO=).
export RVDPA_OBJ := $(abspath $(obj))

# rust-crate: <crate> [<crates it uses>]
#
# Emits the crate's metadata next to its object and makes the crates it uses
# visible. A crate is found by name, so every metadata folder is on the path.
define rust-crate-rules
RUSTFLAGS_$(1).o += --emit=metadata=$$(obj)/$(dir $(1))lib$(notdir $(1)).rmeta
RUSTFLAGS_$(1).o += $(foreach d,$(2),-L $$(obj)/$(patsubst %/,%,$(dir $(d))) --extern $(notdir $(d)))
$$(obj)/$(1).o: $(foreach d,$(2),$$(obj)/$(d).o)
clean-files += $(dir $(1))lib$(notdir $(1)).rmeta $(1).rustdoc
$$(obj)/$(1).rustdoc: $$(src)/$(1).rs $$(obj)/$(1).o FORCE
	+$$(call if_changed,rust_rustdoc)
targets += $(1).rustdoc
always-$$(if $$(RUSTDOC_DIR),y) += $(1).rustdoc
endef
rust-crate = $(eval $(call rust-crate-rules,$(strip $(1)),$(strip $(2))))

# Documentation, with RUSTDOC_DIR=<output folder>.
quiet_cmd_rust_rustdoc = RUSTDOC $<
      cmd_rust_rustdoc = \
	OBJTREE=$(abspath $(objtree)) RUST_MODFILE=rustdoc \
	$(RUSTDOC) $(filter-out --emit=%,$(rust_flags)) \
		-Zallow-features=$(rust_allowed_features) -Zcrate-attr=no_std \
		-Zcrate-attr='feature($(rust_allowed_features))' -Zunstable-options \
		--extern pin_init --extern kernel --extern zerocopy --extern zerocopy_derive \
		-L $(objtree)/rust/ --sysroot=/dev/null --document-private-items \
		--output $(RUSTDOC_DIR) $< && touch $@

# rust-bindings: <bindings crate> <headers whose items are emitted> <single items>
#
# `--no-recursive-allowlist`: every item declared in another header is left
# out and comes from `kernel::bindings` through a glob import, so that e.g.
# `struct device` is the kernel crate's own type. Scalar typedefs are the
# exception: bindgen has to see them to derive `Copy` and to emit unions, and
# an alias is not a distinct type.
bindings-scalars := (__)?[us](8|16|32|64)_?|__(virtio|le|be)(16|32|64)|bool_?|dma_addr_t|phys_addr_t|resource_size_t|gfp_t

# The kernel keeps these lists inside rust/Makefile, which cannot be included.
bindings-skip-c-flags := $(shell sed -n '/^bindgen_skip_c_flags :=/,/[^\\]$$/p' \
	$(srctree)/rust/Makefile | sed 's/^bindgen_skip_c_flags :=//; s/\\$$//')
bindings-parameters := $(shell grep -Ev '^\#|^$$' $(srctree)/rust/bindgen_parameters)
bindings-c-flags = $(filter-out $(bindings-skip-c-flags),$(c_flags)) \
	-w --target=$(BINDGEN_TARGET_$(SRCARCH)) -fno-builtin -D__BINDGEN__ -DMODULE

BINDGEN_TARGET_x86 := x86_64-linux-gnu
BINDGEN_TARGET_arm64 := aarch64-linux-gnu

empty :=
space := $(empty) $(empty)
quiet_cmd_rust_bindgen = BINDGEN $@
      cmd_rust_bindgen = \
	$(BINDGEN) $< $(bindings-parameters) $(bindings-select) --rust-target 1.85 \
		--use-core --with-derive-default --ctypes-prefix ffi --no-layout-tests \
		--no-debug '.*' --enable-function-attribute-detection \
		-o $@ -- $(bindings-c-flags) ; \
	sed -Ei $(bindings-edit) $@

define rust-bindings-rules
$$(obj)/$(1)_generated.rs: private bindings-select := --no-recursive-allowlist \
	--allowlist-type '$$(bindings-scalars)' \
	$(patsubst %,--allowlist-item %,$(3)) \
	--allowlist-file '.*/($(subst $(space),|,$(strip $(2)))|$(dir $(1))bindings_helper)\.h'
$$(obj)/$(1)_generated.rs: private bindings-edit := \
	's/pub const RUST_CONST_HELPER_([a-zA-Z0-9_]*)/pub const \1/g'
$$(obj)/$(1)_generated.rs: $$(src)/$(dir $(1))bindings_helper.h $$(srctree)/rust/bindgen_parameters FORCE
	$$(call if_changed_dep,rust_bindgen)

# Helper functions: only the prototypes, with the prefix cut off.
$$(obj)/$(1)_helpers_generated.rs: private bindings-select := \
	--blocklist-type '.*' --allowlist-var '' --allowlist-function 'rvdpa_helper_.*'
$$(obj)/$(1)_helpers_generated.rs: private bindings-edit := \
	's/pub fn rvdpa_helper_([a-zA-Z0-9_]*)/\#[link_name="rvdpa_helper_\1"]\n    pub fn \1/g'
$$(obj)/$(1)_helpers_generated.rs: $$(src)/$(dir $(1))helpers.c FORCE
	$$(call if_changed_dep,rust_bindgen)

$$(obj)/$(1).o: $$(obj)/$(1)_generated.rs $$(obj)/$(1)_helpers_generated.rs
CFLAGS_REMOVE_$(dir $(1))helpers.o += -Wmissing-prototypes -Wmissing-declarations
targets += $(1)_generated.rs $(1)_helpers_generated.rs
clean-files += $(1)_generated.rs $(1)_helpers_generated.rs
endef
rust-bindings = $(eval $(call rust-bindings-rules,$(strip $(1)),$(strip $(2)),$(strip $(3))))
