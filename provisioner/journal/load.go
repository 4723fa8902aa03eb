package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// asideSuffix is added to the name of a journal for the ConfigMap of entries that nobody can read.
const asideSuffix = "-unreadable"

// Load reads what the leaders before left on record, and takes the journal over from them. Entries that cannot be read are kept aside for a person
// to look at, and never stand in the way of the others; unreadable says which. It returns an error only if nothing could be read, for a
// reason that will pass; a journal that may not be read is degraded.
func (j *Journal) Load(ctx context.Context) (entries []*Entry, unreadable []error, err error) {
	j.pages = nil
	for number := 0; ; number++ {
		stored, err := j.takeOverPatiently(ctx, j.pageName(number))
		switch {
		case err != nil && permanent(err):
			j.degrade(ctx, fmt.Errorf("read the journal: %w", err))
			return entries, unreadable, nil
		case err != nil:
			return nil, nil, fmt.Errorf("read the journal: %w", err)
		case stored == nil:
			return entries, unreadable, nil
		}
		p := newPage(stored.Name)
		p.read(stored, j.config.Holder)
		j.pages = append(j.pages, p)
		aside := map[string][]byte{}
		for _, key := range slices.Sorted(maps.Keys(stored.BinaryData)) {
			entry, err := decode(key, stored.BinaryData[key])
			if err != nil {
				unreadable = append(unreadable, fmt.Errorf("journal entry %s of ConfigMap %s: %w", key, stored.Name, err))
				aside[key] = stored.BinaryData[key]
				continue
			}
			entries = append(entries, entry)
			j.mu.Lock()
			j.recorded[entry.UID()] = record{p.name, stored.BinaryData[key]}
			j.mu.Unlock()
		}
		if err := j.setAside(ctx, number, p, aside); err != nil {
			unreadable = append(unreadable, fmt.Errorf("keep %d entries of ConfigMap %s aside: %w", len(aside), p.name, err))
		}
	}
}

// takeOverPatiently does not believe a refusal at once, and tries again if a leader before wrote at the same time.
func (j *Journal) takeOverPatiently(ctx context.Context, name string) (stored *corev1.ConfigMap, err error) {
	pause := retryStart
	for range maxRefusals {
		if stored, err = j.takeOver(ctx, name); err == nil || !permanent(err) && !conflicts(err) {
			return stored, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
		pause *= 2
	}
	return stored, err
}

// takeOver marks a page as this leader's, so that no leader before can write it any more; nil if there is no such page. The mark is of the
// version that was read: one that arrives after somebody else has taken over is a conflict. The first page is made if it is not there:
// otherwise a leader that finds one later could not tell whether it is of a leader before or of one after.
func (j *Journal) takeOver(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	stored, err := j.config.ConfigMaps.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && name == j.pageName(0):
		return j.mark.create(ctx, j.config.ConfigMaps, name, nil)
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return j.takePage(ctx, stored)
}

func (j *Journal) takePage(ctx context.Context, stored *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	meta := map[string]any{"resourceVersion": stored.ResourceVersion, "annotations": j.mark.annotations()}
	owners, owning := j.mark.changed(stored.OwnerReferences, len(stored.BinaryData))
	if owning {
		meta["ownerReferences"] = owners
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return nil, err
	}
	taken, err := j.config.ConfigMaps.Patch(ctx, stored.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsForbidden(err) && owning { // as in page.write
		j.mark.owner = nil
		return j.takePage(ctx, stored)
	}
	return taken, err
}

// setAside moves what cannot be read of a page to a ConfigMap of its own kind, which has room for as much. Until that is done it stays where
// it is.
func (j *Journal) setAside(ctx context.Context, number int, p *page, values map[string][]byte) error {
	if len(values) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	name := j.config.Name + asideSuffix
	if number > 0 {
		name = fmt.Sprintf("%s-%d", name, number)
	}
	patch, err := json.Marshal(map[string]any{"binaryData": values})
	if err != nil {
		return err
	}
	_, err = j.config.ConfigMaps.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		_, err = j.config.ConfigMaps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{Label: j.mark.label}},
			BinaryData: values,
		}, metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	return p.write(ctx, j.config.ConfigMaps, &j.mark, change{remove: slices.Sorted(maps.Keys(values))})
}

// conflicts reports whether a write met another one.
func conflicts(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// Count is how many entries a journal holds, for who does not keep it. There being none is no error.
func Count(ctx context.Context, configMaps corev1client.ConfigMapInterface, name string) (count int, err error) {
	for number := 0; ; number++ {
		stored, err := configMaps.Get(ctx, pageName(name, number), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return count, nil
		}
		if err != nil {
			return count, fmt.Errorf("read the journal: %w", err)
		}
		count += len(stored.BinaryData)
	}
}

// Read decodes the entries of a stored page, for people.
func Read(stored *corev1.ConfigMap) (entries []*Entry, problems []error) {
	for _, key := range slices.Sorted(maps.Keys(stored.BinaryData)) {
		entry, err := decode(key, stored.BinaryData[key])
		if err != nil {
			problems = append(problems, fmt.Errorf("entry %s of ConfigMap %s: %w", key, stored.Name, err))
			continue
		}
		entries = append(entries, entry)
	}
	return entries, problems
}
