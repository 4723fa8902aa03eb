package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What an answer may hold. The API server cuts warnings to 256 characters each once all of a request have 4,096, those of other webhooks
// counted; the rest are generous bounds on what is built of names.
const (
	maxWarning  = 600
	maxWarnings = 4
	maxMessage  = 2000
	maxAudit    = 400
)

// answer makes the response to a request of what was decided about it.
func answer(request *admissionv1.AdmissionRequest, result Result) (*admissionv1.AdmissionResponse, error) {
	response := &admissionv1.AdmissionResponse{UID: request.UID}
	switch result := result.(type) {
	case Admit:
		steps, err := patch(request.Object.Raw, result.Changes)
		if err != nil {
			return nil, fmt.Errorf("make a patch: %w", err)
		}
		response.Allowed = true
		if steps != nil {
			response.Patch, response.PatchType = steps, new(admissionv1.PatchTypeJSONPatch)
		}
		for _, text := range result.Warnings[:min(len(result.Warnings), maxWarnings)] {
			response.Warnings = append(response.Warnings, shortened(text, maxWarning))
		}
		for key, value := range result.Audit {
			if response.AuditAnnotations == nil {
				response.AuditAnnotations = map[string]string{}
			}
			response.AuditAnnotations[key] = shortened(value, maxAudit)
		}
	case Refuse:
		response.Result = &metav1.Status{
			Status: metav1.StatusFailure, Message: shortened(result.Message, maxMessage),
			Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden,
		}
		if result.Invalid {
			response.Result.Reason, response.Result.Code = metav1.StatusReasonInvalid, http.StatusUnprocessableEntity
		}
	}
	return response, nil
}

// write sends a response. Nothing can be done about it where that fails: the API server has gone, or finds the answer incomplete.
func write(w http.ResponseWriter, response *admissionv1.AdmissionResponse) error {
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: kindReview},
		Response: response,
	})
	if err != nil {
		return fmt.Errorf("write the response: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(body)
	return err
}

// shortened makes a text fit for a header, as warnings travel in, and no longer than so many characters.
func shortened(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}
