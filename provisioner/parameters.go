package provisioner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Keys of a StorageClass' parameters that are ours and not the driver's.
const (
	parameterPrefix = "csi.storage.k8s.io/"
	parameterFSType = parameterPrefix + "fstype"
	// legacyFSType is the same in any letter case; the driver still gets to see it.
	legacyFSType = "fstype"

	// Added to the driver's parameters with --extra-create-metadata.
	parameterClaimName      = parameterPrefix + "pvc/name"
	parameterClaimNamespace = parameterPrefix + "pvc/namespace"
	parameterVolumeName     = parameterPrefix + "pv/name"
)

// splitParameters takes what is ours out of a class's parameters. fsType is nil if none is given; an empty one counts
// as given, so that it cannot be given twice.
func splitParameters(all map[string]string) (driver map[string]string, fsType *string, err error) {
	driver = make(map[string]string, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := all[key]
		switch {
		case key == parameterFSType, strings.EqualFold(key, legacyFSType):
			if fsType != nil {
				return nil, nil, fmt.Errorf("the file system type is given twice (%q and %q or another spelling): keep %q", key, legacyFSType, parameterFSType)
			}
			fsType = &value
			if key != parameterFSType {
				driver[key] = value
			}
		case isSecretParameter(key):
		case strings.HasPrefix(key, parameterPrefix):
			return nil, nil, fmt.Errorf("parameter %q is reserved (prefix %q) but unknown: check its spelling", key, parameterPrefix)
		default:
			driver[key] = value
		}
	}
	return driver, fsType, nil
}

// DriverParameters are those of a class's parameters that its driver gets to see in any call about the class. Ours are left out whether or not they
// are in order, as splitParameters, which says what is not, does.
func DriverParameters(class map[string]string) map[string]string {
	driver := maps.Clone(class)
	maps.DeleteFunc(driver, func(key, _ string) bool { return isSecretParameter(key) || strings.HasPrefix(key, parameterPrefix) })
	return driver
}
