package app

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// conditionName is the match condition that the leader keeps in our webhooks.
const conditionName = "berth-classes"

// matchExpression is the CEL expression of that condition: is the object any of the driver's business?
//
// A claim is, if its class is one of the driver's. The annotation that once was the class comes before the field, as everywhere
// (GetPersistentVolumeClaimClass). A claim without a class is not, yet: its class comes with an update, whose new object has it. A claim that
// was given to the driver before another webhook changed its class is, too: that is taken back.
//
// A snapshot's content tells its driver itself. Objects of any other kind pass, as nobody knows better than the configuration's rules.
func matchExpression(driver string, classes []string) string {
	names := make([]string, len(classes))
	for i, name := range slices.Sorted(slices.Values(classes)) {
		names[i] = strconv.Quote(name)
	}
	annotation := func(key string) (has, value string) {
		key = strconv.Quote(key)
		return "(has(object.metadata.annotations) && " + key + " in object.metadata.annotations)", "object.metadata.annotations[" + key + "]"
	}
	hasBeta, beta := annotation(corev1.BetaStorageClassAnnotation)
	hasOwner, owner := annotation(volumehelpers.AnnStorageProvisioner)
	// A list of nothing has no type to compare with.
	named := "false"
	if len(names) > 0 {
		named = fmt.Sprintf(`(%s ? %s : has(object.spec.storageClassName) ? object.spec.storageClassName : "") in [%s]`,
			hasBeta, beta, strings.Join(names, ", "))
	}
	claim := fmt.Sprintf(`(%s || (%s && %s == %q))`, named, hasOwner, owner, driver)
	return fmt.Sprintf(`request.resource.resource == "persistentvolumeclaims" ? %s : `+
		`request.resource.resource != "volumesnapshotcontents" || object.spec.driver == %q`, claim, driver)
}

// classNames are the names of a driver's classes.
func classNames(driver string, classes []*storagev1.StorageClass) []string {
	var names []string
	for _, class := range classes {
		if class.Provisioner == driver {
			names = append(names, class.Name)
		}
	}
	return names
}

// classEvents calls back when there may be other classes of a driver than before.
func classEvents(driver string, changed func()) cache.ResourceEventHandler {
	ours := func(object any) bool {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		class, ok := object.(*storagev1.StorageClass)
		return ok && class.Provisioner == driver
	}
	tell := func(object any) {
		if ours(object) {
			changed()
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: tell,
		UpdateFunc: func(old, object any) { // a class that was deleted and made again in between may be another driver's now
			if ours(old) != ours(object) {
				changed()
			}
		},
		DeleteFunc: tell,
	}
}
