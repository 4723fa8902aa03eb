package harness

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Secret with text in it.
func Secret(namespace, name string, data map[string]string) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{}}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	return secret
}

// Parameters is an edit of StorageClass that adds to its parameters.
func Parameters(parameters map[string]string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		if class.Parameters == nil {
			class.Parameters = map[string]string{}
		}
		maps.Copy(class.Parameters, parameters)
	}
}

// VolumeAttributesClass of a driver.
func VolumeAttributesClass(name, driver string, parameters map[string]string) *storagev1.VolumeAttributesClass {
	return &storagev1.VolumeAttributesClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, DriverName: driver, Parameters: parameters,
	}
}

// WithAttributes is an edit of Claim: it asks for a VolumeAttributesClass.
func WithAttributes(class string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Spec.VolumeAttributesClassName = &class }
}
