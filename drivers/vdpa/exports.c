// SPDX-License-Identifier: GPL-2.0
/* The C interface of vdpa.ko; the functions are in exports.rs. */

#include <linux/export.h>
#include <linux/vdpa.h>

EXPORT_SYMBOL_GPL(__vdpa_alloc_device);
EXPORT_SYMBOL_GPL(_vdpa_register_device);
EXPORT_SYMBOL_GPL(vdpa_register_device);
EXPORT_SYMBOL_GPL(_vdpa_unregister_device);
EXPORT_SYMBOL_GPL(vdpa_unregister_device);
EXPORT_SYMBOL_GPL(__vdpa_register_driver);
EXPORT_SYMBOL_GPL(vdpa_unregister_driver);
EXPORT_SYMBOL_GPL(vdpa_mgmtdev_register);
EXPORT_SYMBOL_GPL(vdpa_mgmtdev_unregister);
EXPORT_SYMBOL_GPL(vdpa_get_config);
EXPORT_SYMBOL_GPL(vdpa_set_config);
EXPORT_SYMBOL(vdpa_set_status);
