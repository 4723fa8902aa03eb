package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// secret makes a Secret with these keys.
func secret(name string, keys ...string) ingredient {
	return func(ctx context.Context, s *stage) error {
		data := map[string]string{}
		for _, key := range keys {
			data[key] = "value of " + key
		}
		secrets := s.client.CoreV1().Secrets(s.namespace)
		if _, err := secrets.Create(ctx, harness.Secret(s.namespace, name, data), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create secret: %w", err)
		}
		s.later(func(ctx context.Context) error {
			return unlessGone(secrets.Delete(ctx, name, metav1.DeleteOptions{}))
		})
		return nil
	}
}

// withoutSecret takes a Secret away.
func withoutSecret(name string) ingredient {
	return func(ctx context.Context, s *stage) error {
		return s.client.CoreV1().Secrets(s.namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
}

// withoutClass takes the case's class away.
func withoutClass(ctx context.Context, s *stage) error {
	return s.client.StorageV1().StorageClasses().Delete(ctx, s.name, metav1.DeleteOptions{})
}

// class makes another class, called after the case's.
func class(name string, edits ...func(*storagev1.StorageClass)) ingredient {
	return func(ctx context.Context, s *stage) error { return s.createClass(ctx, s.name+"-"+name, edits...) }
}

// source makes a claim of the case's class, called "source", and waits until it is bound.
func source(edits ...func(*corev1.PersistentVolumeClaim)) ingredient {
	return sourceOf("", "source", edits...)
}

// sourceOf is source with another class.
func sourceOf(class, name string, edits ...func(*corev1.PersistentVolumeClaim)) ingredient {
	return func(ctx context.Context, s *stage) error {
		if err := unbound(class, name, edits...)(ctx, s); err != nil {
			return err
		}
		namespace := s.namespace
		var claim *corev1.PersistentVolumeClaim
		err := harness.Eventually(ctx, "claim "+name+" is bound", func(ctx context.Context) error {
			var err error
			claim, err = s.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
			if err == nil && claim.Status.Phase != corev1.ClaimBound {
				err = fmt.Errorf("it is %s", claim.Status.Phase)
			}
			return err
		})
		s.sources[name] = claim
		return err
	}
}

// unbound makes a claim and does not wait for anything.
func unbound(class, name string, edits ...func(*corev1.PersistentVolumeClaim)) ingredient {
	return func(ctx context.Context, s *stage) error {
		className := s.name
		if class != "" {
			className += "-" + class
		}
		claim, err := s.createClaim(ctx, name, className, edits...)
		if err != nil {
			return err
		}
		s.sources[name] = claim
		s.later(func(ctx context.Context) error { return s.dropClaim(ctx, claim) })
		return nil
	}
}

// holdClaim gives a claim a finalizer of the test's, and deletes it.
func holdClaim(name string) ingredient {
	return func(ctx context.Context, s *stage) error {
		claims := s.client.CoreV1().PersistentVolumeClaims(s.namespace)
		claim, err := claims.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		claim.Finalizers = append(claim.Finalizers, "compare.berth.dev/held")
		if _, err = claims.Update(ctx, claim, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return claims.Delete(ctx, name, metav1.DeleteOptions{})
	}
}

// snapshot takes a snapshot of a source.
func snapshot(name, claim string, edits ...func(*harness.Snapshot)) ingredient {
	return func(ctx context.Context, s *stage) error {
		taken, err := s.snaps.Take(ctx, s.namespace, name, claim, edits...)
		if err != nil {
			return err
		}
		s.snapshots[name] = taken
		s.later(func(ctx context.Context) error { return s.snaps.Drop(ctx, taken) })
		return nil
	}
}

// deleteSnapshot deletes a snapshot; one with a finalizer stays.
func deleteSnapshot(name string) ingredient {
	return func(ctx context.Context, s *stage) error {
		return s.snaps.API.SnapshotV1().VolumeSnapshots(s.namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
}

// deleteClaim deletes a claim and does not wait.
func deleteClaim(name string) ingredient {
	return func(ctx context.Context, s *stage) error {
		return s.client.CoreV1().PersistentVolumeClaims(s.namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
}

// attributes makes a VolumeAttributesClass; an empty driver is the group's.
func attributes(name, driver string, parameters map[string]string) ingredient {
	return func(ctx context.Context, s *stage) error {
		if driver == "" {
			driver = s.group.driver.name
		}
		classes := s.client.StorageV1().VolumeAttributesClasses()
		object := harness.VolumeAttributesClass(s.attributesName(name), driver, parameters)
		if _, err := classes.Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create VolumeAttributesClass: %w", err)
		}
		s.later(func(ctx context.Context) error {
			if err := unlessGone(classes.Delete(ctx, object.Name, metav1.DeleteOptions{})); err != nil {
				return err
			}
			return s.untilGone(ctx, "VolumeAttributesClass "+object.Name, func(ctx context.Context) error {
				_, err := classes.Get(ctx, object.Name, metav1.GetOptions{})
				return err
			})
		})
		return nil
	}
}

// elsewhere has ingredients made in the second namespace.
func elsewhere(ingredients ...ingredient) ingredient {
	return func(ctx context.Context, s *stage) error {
		home := s.namespace
		defer func() { s.namespace = home }()
		s.namespace = s.localised(elsewhereName)
		if err := s.ensureNamespace(ctx, s.namespace); err != nil {
			return err
		}
		for _, ingredient := range ingredients {
			if err := ingredient(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// grant makes a ReferenceGrant, for claims of the case's own namespace unless another is named.
func grant(permits harness.Grant) ingredient {
	return func(ctx context.Context, s *stage) error {
		if permits.From == "" {
			permits.From = s.name
		}
		grants := s.grants.GatewayV1beta1().ReferenceGrants(s.namespace)
		if _, err := grants.Create(ctx, harness.ReferenceGrant(s.namespace, "grant", permits), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create ReferenceGrant: %w", err)
		}
		s.later(func(ctx context.Context) error {
			return unlessGone(grants.Delete(ctx, "grant", metav1.DeleteOptions{}))
		})
		return nil
	}
}
