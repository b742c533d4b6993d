from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

MAX_UPLOAD = 20 * 1024 * 1024


class UploadForm(forms.Form):
    title = forms.CharField(max_length=200, required=False)
    file = forms.FileField(
        label="Picture",
        widget=forms.ClearableFileInput(attrs={"accept": "image/*"}),
    )

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if not (file.content_type or "").startswith("image/"):
            raise forms.ValidationError(
                "This is not a picture: choose a JPEG, PNG or WebP file."
            )
        if (file.size or 0) > MAX_UPLOAD:
            raise forms.ValidationError(
                f"At most {MAX_UPLOAD // 1024**2} MB; this file has {file.size} bytes."
            )
        return file
