#include <stdio.h>
#include <string.h>

#define MAX_WORD 1024

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    unsigned long lines = 0, words = 0, bytes = 0, letters = 0;
    char word[MAX_WORD] = "", longest[MAX_WORD] = "";
    size_t length = 0, longest_length = 0;
    int c;

    do {
        c = getchar();
        if (c != EOF)
            bytes++;
        if (c == '\n')
            lines++;
        if (c != EOF && c != ' ' && c != '\t' && c != '\n') {
            letters++;
            if (length + 1 < MAX_WORD)
                word[length++] = (char)c;
        } else if (length > 0) {
            words++;
            word[length] = '\0';
            if (length > longest_length) {
                longest_length = length;
                memcpy(longest, word, length + 1);
            }
            length = 0;
        }
    } while (c != EOF);

    if (strcmp(mode, "--longest") == 0)
        printf("%s\n", longest);
    else if (strcmp(mode, "--average") == 0)
        printf("%.6f\n", words == 0 ? 0.0 : (double)letters / (double)words);
    else
        printf("%lu\n%lu\n%lu\n", lines, words, bytes);
    return 0;
}
